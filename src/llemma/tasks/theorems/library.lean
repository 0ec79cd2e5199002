/- The library of theorems: small statements about logic, truth values, numbers, lists and trees, with known proofs.

   Everything up to the first theorem is the prelude of all of them. No proof uses another theorem of the file. Proofs
   are written one tactic to a line, each acting on the first open goal, so that the lines are the steps of a search.
   Needs nothing beyond Lean's own library. The same theorems stand in library.v. -/

def double : Nat → Nat
  | 0 => 0
  | n + 1 => double n + 2

def half : Nat → Nat
  | n + 2 => half n + 1
  | _ => 0

def sumTo : Nat → Nat
  | 0 => 0
  | n + 1 => (n + 1) + sumTo n

def sumOdd : Nat → Nat
  | 0 => 0
  | n + 1 => 2 * n + 1 + sumOdd n

def sumPow2 : Nat → Nat
  | 0 => 1
  | n + 1 => sumPow2 n + sumPow2 n + 1

def pow2 : Nat → Nat
  | 0 => 1
  | n + 1 => pow2 n + pow2 n

def power (b : Nat) : Nat → Nat
  | 0 => 1
  | n + 1 => b * power b n

def factorial : Nat → Nat
  | 0 => 1
  | n + 1 => (n + 1) * factorial n

def isEven : Nat → Bool
  | 0 => true
  | n + 1 => !isEven n

def join : List Nat → List Nat → List Nat
  | [], m => m
  | x :: t, m => x :: join t m

def size : List Nat → Nat
  | [] => 0
  | _ :: t => size t + 1

def total : List Nat → Nat
  | [] => 0
  | x :: t => x + total t

def snoc : List Nat → Nat → List Nat
  | [], x => [x]
  | y :: t, x => y :: snoc t x

def rev : List Nat → List Nat
  | [] => []
  | x :: t => snoc (rev t) x

def copies (x : Nat) : Nat → List Nat
  | 0 => []
  | n + 1 => x :: copies x n

def every : List Bool → Bool
  | [] => true
  | x :: t => x && every t

def someTrue : List Bool → Bool
  | [] => false
  | x :: t => x || someTrue t

inductive Tree where
  | leaf : Tree
  | node : Tree → Nat → Tree → Tree

def nodes : Tree → Nat
  | .leaf => 0
  | .node a _ b => nodes a + nodes b + 1

def leaves : Tree → Nat
  | .leaf => 1
  | .node a _ b => leaves a + leaves b

def mirror : Tree → Tree
  | .leaf => .leaf
  | .node a x b => .node (mirror b) x (mirror a)

-- Logic

theorem and_swap (P Q : Prop) (h : P ∧ Q) : Q ∧ P := by
  constructor
  exact h.2
  exact h.1

theorem or_swap (P Q : Prop) (h : P ∨ Q) : Q ∨ P := by
  cases h
  right
  assumption
  left
  assumption

theorem and_regroup (P Q R : Prop) (h : P ∧ (Q ∧ R)) : (P ∧ Q) ∧ R := by
  constructor
  constructor
  exact h.1
  exact h.2.1
  exact h.2.2

theorem or_regroup (P Q R : Prop) (h : P ∨ (Q ∨ R)) : (P ∨ Q) ∨ R := by
  cases h
  left
  left
  assumption
  rename_i h
  cases h
  left
  right
  assumption
  right
  assumption

theorem imply_chain (P Q R : Prop) (hpq : P → Q) (hqr : Q → R) (hp : P) : R := by
  apply hqr
  apply hpq
  exact hp

theorem contrapositive (P Q : Prop) (h : P → Q) (hq : ¬Q) : ¬P := by
  intro hp
  apply hq
  apply h
  exact hp

theorem not_or_split (P Q : Prop) (h : ¬(P ∨ Q)) : ¬P ∧ ¬Q := by
  constructor
  intro hp
  apply h
  left
  exact hp
  intro hq
  apply h
  right
  exact hq

theorem or_not_join (P Q : Prop) (h : ¬P ∨ ¬Q) : ¬(P ∧ Q) := by
  intro hpq
  cases h
  rename_i hn
  apply hn
  exact hpq.1
  rename_i hn
  apply hn
  exact hpq.2

theorem and_over_or (P Q R : Prop) (h : P ∧ (Q ∨ R)) : (P ∧ Q) ∨ (P ∧ R) := by
  obtain ⟨hp, h⟩ := h
  cases h
  left
  constructor
  exact hp
  assumption
  right
  constructor
  exact hp
  assumption

theorem curry (P Q R : Prop) (h : P ∧ Q → R) (hp : P) (hq : Q) : R := by
  apply h
  constructor
  exact hp
  exact hq

theorem triple_negation (P : Prop) (h : ¬¬¬P) : ¬P := by
  intro hp
  apply h
  intro hn
  apply hn
  exact hp

theorem not_not_excluded_middle (P : Prop) : ¬¬(P ∨ ¬P) := by
  intro h
  apply h
  right
  intro hp
  apply h
  left
  exact hp

theorem iff_swap (P Q : Prop) (h : P ↔ Q) : Q ↔ P := by
  constructor
  exact h.2
  exact h.1

theorem and_of_exists (P Q : Nat → Prop) (h : ∃ n, P n ∧ Q n) : (∃ n, P n) ∧ (∃ n, Q n) := by
  obtain ⟨n, hn⟩ := h
  constructor
  exact ⟨n, hn.1⟩
  exact ⟨n, hn.2⟩

theorem and_of_all (P Q : Nat → Prop) (hp : ∀ n, P n) (hq : ∀ n, Q n) : ∀ n, P n ∧ Q n := by
  intro n
  constructor
  apply hp
  apply hq

theorem or_of_exists (P Q : Nat → Prop) (h : (∃ n, P n) ∨ (∃ n, Q n)) : ∃ n, P n ∨ Q n := by
  cases h
  rename_i h
  obtain ⟨n, hn⟩ := h
  exact ⟨n, Or.inl hn⟩
  rename_i h
  obtain ⟨n, hn⟩ := h
  exact ⟨n, Or.inr hn⟩

theorem none_means_not (P : Nat → Prop) (h : ¬∃ n, P n) : ∀ n, ¬P n := by
  intro n hp
  apply h
  exact ⟨n, hp⟩

theorem counterexample (P : Nat → Prop) (h : ∃ n, ¬P n) : ¬∀ n, P n := by
  intro ha
  obtain ⟨n, hn⟩ := h
  apply hn
  apply ha

theorem climb_two (P : Nat → Prop) (h0 : P 0) (hs : ∀ n, P n → P (n + 1)) : P 2 := by
  apply hs
  apply hs
  exact h0

theorem climb_all (P : Nat → Prop) (h0 : P 0) (hs : ∀ n, P n → P (n + 1)) : ∀ n, P n := by
  intro n
  induction n
  exact h0
  apply hs
  assumption

theorem climb_by_two (P : Nat → Prop) (h0 : P 0) (h1 : P 1) (hs : ∀ n, P n → P (n + 2)) :
    ∀ n, P n ∧ P (n + 1) := by
  intro n
  induction n
  constructor
  exact h0
  exact h1
  rename_i n ih
  constructor
  exact ih.2
  apply hs
  exact ih.1

theorem fixed_chain (f : Nat → Nat) (a : Nat) (h : f a = a) : f (f (f a)) = a := by
  rw [h]
  rw [h]
  rw [h]

theorem left_inverse (f g : Nat → Nat) (a b : Nat) (h : ∀ x, g (f x) = x) (e : f a = f b) : a = b := by
  rw [← h a]
  rw [e]
  rw [h]

theorem same_steps (f g : Nat → Nat) (h0 : f 0 = g 0) (hf : ∀ n, f (n + 1) = f n + n)
    (hg : ∀ n, g (n + 1) = g n + n) : ∀ n, f n = g n := by
  intro n
  induction n
  exact h0
  rename_i n ih
  rw [hf]
  rw [hg]
  rw [ih]

theorem constant_steps (f : Nat → Nat) (c : Nat) (h0 : f 0 = c) (hs : ∀ n, f (n + 1) = f n) : ∀ n, f n = c := by
  intro n
  induction n
  exact h0
  rename_i n ih
  rw [hs]
  exact ih

theorem growing_steps (f : Nat → Nat) (h : ∀ n, f n < f (n + 1)) : ∀ n, n ≤ f n := by
  intro n
  induction n
  omega
  rename_i n ih
  have hn := h n
  omega

-- Truth values

theorem negb_twice (a : Bool) : (!!a) = a := by
  cases a
  rfl
  rfl

theorem andb_swap (a b : Bool) : (a && b) = (b && a) := by
  cases a
  cases b
  rfl
  rfl
  cases b
  rfl
  rfl

theorem orb_regroup (a b c : Bool) : (a || (b || c)) = ((a || b) || c) := by
  cases a
  rfl
  rfl

theorem negb_of_and (a b : Bool) : (!(a && b)) = (!a || !b) := by
  cases a
  rfl
  rfl

theorem and_over_orb (a b c : Bool) : (a && (b || c)) = (a && b || a && c) := by
  cases a
  rfl
  rfl

theorem xorb_self (a : Bool) : (a ^^ a) = false := by
  cases a
  rfl
  rfl

theorem if_same (a : Bool) (n : Nat) : (if a then n else n) = n := by
  cases a
  rfl
  rfl

theorem andb_left (a b : Bool) (h : (a && b) = true) : a = true := by
  cases a
  contradiction
  rfl

theorem if_not (a : Bool) (n m : Nat) : (if !a then n else m) = (if a then m else n) := by
  cases a
  rfl
  rfl

-- Natural numbers

theorem add_regroup (a b c : Nat) : a + (b + c) = (a + b) + c := by
  omega

theorem order_chain (a b c : Nat) (h1 : a < b) (h2 : b < c) : a + 1 < c := by
  omega

theorem linear_pair (x y : Nat) (h1 : x + y = 10) (h2 : x = y + 2) : x = 6 := by
  omega

theorem square_of_sum (a b : Nat) : (a + b) * (a + b) = a * a + 2 * (a * b) + b * b := by
  rw [Nat.add_mul]
  rw [Nat.mul_add]
  rw [Nat.mul_add]
  rw [Nat.mul_comm b a]
  omega

theorem product_positive (a b : Nat) (ha : 0 < a) (hb : 0 < b) : 0 < a * b := by
  exact Nat.mul_pos ha hb

theorem double_is_sum (n : Nat) : double n = n + n := by
  induction n
  rfl
  simp only [double]
  omega

theorem double_add (n m : Nat) : double (n + m) = double n + double m := by
  induction m
  rfl
  rename_i m ih
  rw [← Nat.add_assoc]
  simp only [double]
  omega

theorem double_at_least (n : Nat) : n ≤ double n := by
  induction n
  simp only [double]
  omega
  simp only [double]
  omega

theorem half_of_double (n : Nat) : half (double n) = n := by
  induction n
  rfl
  simp only [double, half]
  omega

theorem sum_to_closed (n : Nat) : 2 * sumTo n = n * (n + 1) := by
  induction n
  rfl
  simp only [sumTo]
  grind

theorem sum_odd_square (n : Nat) : sumOdd n = n * n := by
  induction n
  rfl
  simp only [sumOdd]
  grind

theorem pow2_positive (n : Nat) : 0 < pow2 n := by
  induction n
  simp only [pow2]
  omega
  simp only [pow2]
  omega

theorem pow2_above (n : Nat) : n < pow2 n := by
  induction n
  simp only [pow2]
  omega
  simp only [pow2]
  omega

theorem pow2_add (n m : Nat) : pow2 (n + m) = pow2 n * pow2 m := by
  induction m
  simp only [pow2, Nat.add_zero]
  omega
  rename_i m ih
  rw [← Nat.add_assoc]
  simp only [pow2]
  rw [ih]
  rw [Nat.mul_add]

theorem sum_pow2_closed (n : Nat) : sumPow2 n + 1 = pow2 (n + 1) := by
  induction n
  rfl
  simp only [sumPow2, pow2] at *
  omega

theorem power_of_one (n : Nat) : power 1 n = 1 := by
  induction n
  rfl
  simp only [power]
  omega

theorem power_add (b n m : Nat) : power b (n + m) = power b n * power b m := by
  induction m
  simp only [power, Nat.add_zero]
  omega
  rename_i m ih
  rw [← Nat.add_assoc]
  simp only [power]
  rw [ih]
  grind

theorem power_positive (b n : Nat) (h : 0 < b) : 0 < power b n := by
  induction n
  simp only [power]
  omega
  rename_i n ih
  exact Nat.mul_pos h ih

theorem power_of_product (a b n : Nat) : power (a * b) n = power a n * power b n := by
  induction n
  rfl
  simp only [power]
  grind

theorem factorial_positive (n : Nat) : 0 < factorial n := by
  induction n
  simp only [factorial]
  omega
  rename_i n ih
  exact Nat.mul_pos (Nat.succ_pos n) ih

theorem even_step (n : Nat) : isEven (n + 2) = isEven n := by
  simp only [isEven]
  cases isEven n
  rfl
  rfl

theorem even_double (n : Nat) : isEven (double n) = true := by
  induction n
  rfl
  rename_i n ih
  simp only [double, isEven]
  rw [ih]
  rfl

theorem even_sum (n m : Nat) : isEven (n + m) = (isEven n == isEven m) := by
  induction m
  simp only [isEven, Nat.add_zero]
  cases isEven n
  rfl
  rfl
  rename_i m ih
  rw [← Nat.add_assoc]
  simp only [isEven]
  rw [ih]
  cases isEven n
  cases isEven m
  rfl
  rfl
  cases isEven m
  rfl
  rfl

theorem sum_of_evens (a b : Nat) (ha : ∃ k, a = 2 * k) (hb : ∃ k, b = 2 * k) : ∃ k, a + b = 2 * k := by
  obtain ⟨k, hk⟩ := ha
  obtain ⟨m, hm⟩ := hb
  refine ⟨k + m, ?_⟩
  omega

theorem sum_of_odds (a b : Nat) (ha : ∃ k, a = 2 * k + 1) (hb : ∃ k, b = 2 * k + 1) : ∃ k, a + b = 2 * k := by
  obtain ⟨k, hk⟩ := ha
  obtain ⟨m, hm⟩ := hb
  refine ⟨k + m + 1, ?_⟩
  omega

theorem square_of_even (a : Nat) (h : ∃ k, a = 2 * k) : ∃ k, a * a = 4 * k := by
  obtain ⟨k, hk⟩ := h
  refine ⟨k * k, ?_⟩
  subst hk
  grind

theorem multiple_of_multiple (a b : Nat) (ha : ∃ k, a = 6 * k) (hb : b = a * 5) : ∃ k, b = 10 * k := by
  obtain ⟨k, hk⟩ := ha
  refine ⟨3 * k, ?_⟩
  omega

theorem even_or_odd (n : Nat) : ∃ k, n = 2 * k ∨ n = 2 * k + 1 := by
  refine ⟨n / 2, ?_⟩
  omega

theorem product_of_neighbours (n : Nat) : ∃ k, n * (n + 1) = 2 * k := by
  induction n
  refine ⟨0, ?_⟩
  rfl
  rename_i n ih
  obtain ⟨k, hk⟩ := ih
  refine ⟨k + n + 1, ?_⟩
  grind

theorem larger_exists (n : Nat) : ∃ m, n < m ∧ m < n + 2 := by
  refine ⟨n + 1, ?_⟩
  omega

-- Whole numbers

theorem int_linear (x y : Int) (h1 : 2 * x + y = 7) (h2 : x - y = 2) : x = 3 := by
  omega

theorem int_difference_of_squares (a b : Int) : (a + b) * (a - b) = a * a - b * b := by
  grind

theorem int_square_nonnegative (a : Int) : 0 ≤ a * a := by
  cases Int.le_total 0 a
  rename_i h
  exact Int.mul_nonneg h h
  rename_i h
  exact Int.mul_nonneg_of_nonpos_of_nonpos h h

theorem int_no_half (a : Int) : 2 * a ≠ 7 := by
  omega

theorem int_two_squares (a b : Int) : 2 * (a * b) ≤ a * a + b * b := by
  suffices h : 0 ≤ (a - b) * (a - b) by grind
  cases Int.le_total 0 (a - b)
  rename_i h
  exact Int.mul_nonneg h h
  rename_i h
  exact Int.mul_nonneg_of_nonpos_of_nonpos h h

theorem int_product_of_odds (a b : Int) (ha : ∃ k, a = 2 * k + 1) (hb : ∃ k, b = 2 * k + 1) :
    ∃ k, a * b = 2 * k + 1 := by
  obtain ⟨k, hk⟩ := ha
  obtain ⟨m, hm⟩ := hb
  refine ⟨2 * k * m + k + m, ?_⟩
  subst hk
  subst hm
  grind

theorem int_divides_sum (a b : Int) (ha : ∃ k, a = 3 * k) (hb : ∃ k, b = 3 * k) : ∃ k, a - b = 3 * k := by
  obtain ⟨k, hk⟩ := ha
  obtain ⟨m, hm⟩ := hb
  refine ⟨k - m, ?_⟩
  omega

theorem int_solution : ∃ x : Int, 5 * x + 4 = 19 := by
  refine ⟨3, ?_⟩
  rfl

theorem int_scaled_solution (a : Int) : ∃ x : Int, x + 3 * a = 7 * a := by
  refine ⟨4 * a, ?_⟩
  omega

-- Lists

theorem join_nil (l : List Nat) : join l [] = l := by
  induction l
  rfl
  rename_i x t ih
  simp only [join]
  rw [ih]

theorem join_regroup (a b c : List Nat) : join (join a b) c = join a (join b c) := by
  induction a
  rfl
  rename_i x t ih
  simp only [join]
  rw [ih]

theorem size_join (l m : List Nat) : size (join l m) = size l + size m := by
  induction l
  simp only [join, size]
  omega
  simp only [join, size]
  omega

theorem total_join (l m : List Nat) : total (join l m) = total l + total m := by
  induction l
  simp only [join, total]
  omega
  simp only [join, total]
  omega

theorem size_snoc (l : List Nat) (x : Nat) : size (snoc l x) = size l + 1 := by
  induction l
  rfl
  rename_i y t ih
  simp only [snoc, size]
  rw [ih]

theorem total_snoc (l : List Nat) (x : Nat) : total (snoc l x) = total l + x := by
  induction l
  simp only [snoc, total]
  omega
  simp only [snoc, total]
  omega

theorem snoc_is_join (l : List Nat) (x : Nat) : snoc l x = join l [x] := by
  induction l
  rfl
  rename_i y t ih
  simp only [snoc, join]
  rw [ih]

theorem reverse_of_snoc (l : List Nat) (x : Nat) : rev (snoc l x) = x :: rev l := by
  induction l
  rfl
  rename_i y t ih
  simp only [snoc, rev]
  rw [ih]
  rfl

theorem reverse_twice (l : List Nat) (h : ∀ m x, rev (snoc m x) = x :: rev m) : rev (rev l) = l := by
  induction l
  rfl
  rename_i x t ih
  simp only [rev]
  rw [h]
  rw [ih]

theorem size_reverse (l : List Nat) (h : ∀ m x, size (snoc m x) = size m + 1) : size (rev l) = size l := by
  induction l
  rfl
  rename_i x t ih
  simp only [rev, size]
  rw [h]
  rw [ih]

theorem size_copies (x n : Nat) : size (copies x n) = n := by
  induction n
  rfl
  rename_i n ih
  simp only [copies, size]
  rw [ih]

theorem total_copies (x n : Nat) : total (copies x n) = n * x := by
  induction n
  simp only [copies, total]
  omega
  rename_i n ih
  simp only [copies, total]
  grind

theorem map_keeps_length (f : Nat → Nat) (l : List Nat) : (l.map f).length = l.length := by
  induction l
  rfl
  rename_i x t ih
  simp only [List.map, List.length]
  rw [ih]

theorem map_of_identity (l : List Nat) : l.map (fun x => x) = l := by
  induction l
  rfl
  rename_i x t ih
  simp only [List.map]
  rw [ih]

theorem map_after_map (f g : Nat → Nat) (l : List Nat) : (l.map g).map f = l.map (fun x => f (g x)) := by
  induction l
  rfl
  rename_i x t ih
  simp only [List.map]
  rw [ih]

theorem map_append (f : Nat → Nat) (l m : List Nat) : (l ++ m).map f = l.map f ++ m.map f := by
  induction l
  rfl
  rename_i x t ih
  simp only [List.cons_append, List.map]
  rw [ih]

theorem every_append (l m : List Bool) : every (l ++ m) = (every l && every m) := by
  induction l
  rfl
  rename_i x t ih
  simp only [List.cons_append, every]
  rw [ih]
  cases x
  rfl
  rfl

theorem some_append (l m : List Bool) : someTrue (l ++ m) = (someTrue l || someTrue m) := by
  induction l
  rfl
  rename_i x t ih
  simp only [List.cons_append, someTrue]
  rw [ih]
  cases x
  rfl
  rfl

theorem in_append_left (x : Nat) (l m : List Nat) (h : x ∈ l) : x ∈ l ++ m := by
  induction h
  exact List.Mem.head _
  rename_i ih
  exact List.Mem.tail _ ih

theorem cons_head (x y : Nat) (l m : List Nat) (h : x :: l = y :: m) : x = y := by
  injection h

-- Trees

theorem mirror_twice (t : Tree) : mirror (mirror t) = t := by
  induction t
  rfl
  rename_i a x b iha ihb
  simp only [mirror]
  rw [iha]
  rw [ihb]

theorem nodes_of_mirror (t : Tree) : nodes (mirror t) = nodes t := by
  induction t
  rfl
  simp only [mirror, nodes]
  omega

theorem leaves_and_nodes (t : Tree) : leaves t = nodes t + 1 := by
  induction t
  rfl
  simp only [leaves, nodes]
  omega

theorem leaves_positive (t : Tree) : 0 < leaves t := by
  induction t
  simp only [leaves]
  omega
  simp only [leaves]
  omega
