(* The library of theorems: small statements about logic, truth values, numbers, lists and trees, with known proofs.

   Everything up to the first theorem is the prelude of all of them. No proof uses another theorem of the file. Proofs
   are written one tactic to a line, each acting on the first open goal, so that the lines are the steps of a search.
   The same theorems stand in library.lean. *)

From Coq Require Import Arith ZArith Lia List Bool.
Import ListNotations.

Fixpoint double (n : nat) : nat := match n with 0 => 0 | S m => S (S (double m)) end.

Fixpoint half (n : nat) : nat := match n with S (S m) => S (half m) | _ => 0 end.

Fixpoint sum_to (n : nat) : nat := match n with 0 => 0 | S m => S m + sum_to m end.

Fixpoint sum_odd (n : nat) : nat := match n with 0 => 0 | S m => 2 * m + 1 + sum_odd m end.

Fixpoint sum_pow2 (n : nat) : nat := match n with 0 => 1 | S m => sum_pow2 m + sum_pow2 m + 1 end.

Fixpoint pow2 (n : nat) : nat := match n with 0 => 1 | S m => pow2 m + pow2 m end.

Fixpoint power (b n : nat) : nat := match n with 0 => 1 | S m => b * power b m end.

Fixpoint factorial (n : nat) : nat := match n with 0 => 1 | S m => S m * factorial m end.

Fixpoint is_even (n : nat) : bool := match n with 0 => true | S m => negb (is_even m) end.

Fixpoint join (l m : list nat) : list nat := match l with [] => m | x :: t => x :: join t m end.

Fixpoint size (l : list nat) : nat := match l with [] => 0 | _ :: t => S (size t) end.

Fixpoint total (l : list nat) : nat := match l with [] => 0 | x :: t => x + total t end.

Fixpoint snoc (l : list nat) (x : nat) : list nat := match l with [] => [x] | y :: t => y :: snoc t x end.

Fixpoint reverse (l : list nat) : list nat := match l with [] => [] | x :: t => snoc (reverse t) x end.

Fixpoint copies (x n : nat) : list nat := match n with 0 => [] | S m => x :: copies x m end.

Fixpoint every (l : list bool) : bool := match l with [] => true | x :: t => andb x (every t) end.

Fixpoint some_true (l : list bool) : bool := match l with [] => false | x :: t => orb x (some_true t) end.

Inductive tree : Type := leaf : tree | node : tree -> nat -> tree -> tree.

Fixpoint nodes (t : tree) : nat := match t with leaf => 0 | node a _ b => nodes a + nodes b + 1 end.

Fixpoint leaves (t : tree) : nat := match t with leaf => 1 | node a _ b => leaves a + leaves b end.

Fixpoint mirror (t : tree) : tree := match t with leaf => leaf | node a x b => node (mirror b) x (mirror a) end.

(* Logic *)

Theorem and_swap : forall P Q : Prop, P /\ Q -> Q /\ P.
Proof.
  intros P Q H.
  destruct H as [HP HQ].
  split.
  exact HQ.
  exact HP.
Qed.

Theorem or_swap : forall P Q : Prop, P \/ Q -> Q \/ P.
Proof.
  intros P Q H.
  destruct H as [HP | HQ].
  right.
  exact HP.
  left.
  exact HQ.
Qed.

Theorem and_regroup : forall P Q R : Prop, P /\ (Q /\ R) -> (P /\ Q) /\ R.
Proof.
  intros P Q R H.
  destruct H as [HP H].
  destruct H as [HQ HR].
  split.
  split.
  exact HP.
  exact HQ.
  exact HR.
Qed.

Theorem or_regroup : forall P Q R : Prop, P \/ (Q \/ R) -> (P \/ Q) \/ R.
Proof.
  intros P Q R H.
  destruct H as [HP | H].
  left.
  left.
  exact HP.
  destruct H as [HQ | HR].
  left.
  right.
  exact HQ.
  right.
  exact HR.
Qed.

Theorem imply_chain : forall P Q R : Prop, (P -> Q) -> (Q -> R) -> P -> R.
Proof.
  intros P Q R HPQ HQR HP.
  apply HQR.
  apply HPQ.
  exact HP.
Qed.

Theorem contrapositive : forall P Q : Prop, (P -> Q) -> ~ Q -> ~ P.
Proof.
  intros P Q H HQ HP.
  apply HQ.
  apply H.
  exact HP.
Qed.

Theorem not_or_split : forall P Q : Prop, ~ (P \/ Q) -> ~ P /\ ~ Q.
Proof.
  intros P Q H.
  split.
  intros HP.
  apply H.
  left.
  exact HP.
  intros HQ.
  apply H.
  right.
  exact HQ.
Qed.

Theorem or_not_join : forall P Q : Prop, ~ P \/ ~ Q -> ~ (P /\ Q).
Proof.
  intros P Q H HPQ.
  destruct HPQ as [HP HQ].
  destruct H as [HN | HN].
  apply HN.
  exact HP.
  apply HN.
  exact HQ.
Qed.

Theorem and_over_or : forall P Q R : Prop, P /\ (Q \/ R) -> (P /\ Q) \/ (P /\ R).
Proof.
  intros P Q R H.
  destruct H as [HP H].
  destruct H as [HQ | HR].
  left.
  split.
  exact HP.
  exact HQ.
  right.
  split.
  exact HP.
  exact HR.
Qed.

Theorem curry : forall P Q R : Prop, (P /\ Q -> R) -> P -> Q -> R.
Proof.
  intros P Q R H HP HQ.
  apply H.
  split.
  exact HP.
  exact HQ.
Qed.

Theorem triple_negation : forall P : Prop, ~ ~ ~ P -> ~ P.
Proof.
  intros P H HP.
  apply H.
  intros HN.
  apply HN.
  exact HP.
Qed.

Theorem not_not_excluded_middle : forall P : Prop, ~ ~ (P \/ ~ P).
Proof.
  intros P H.
  apply H.
  right.
  intros HP.
  apply H.
  left.
  exact HP.
Qed.

Theorem iff_swap : forall P Q : Prop, (P <-> Q) -> (Q <-> P).
Proof.
  intros P Q H.
  destruct H as [HPQ HQP].
  split.
  exact HQP.
  exact HPQ.
Qed.

Theorem and_of_exists : forall P Q : nat -> Prop, (exists n, P n /\ Q n) -> (exists n, P n) /\ (exists n, Q n).
Proof.
  intros P Q H.
  destruct H as [n H].
  destruct H as [HP HQ].
  split.
  exists n.
  exact HP.
  exists n.
  exact HQ.
Qed.

Theorem and_of_all : forall P Q : nat -> Prop, (forall n, P n) -> (forall n, Q n) -> forall n, P n /\ Q n.
Proof.
  intros P Q HP HQ n.
  split.
  apply HP.
  apply HQ.
Qed.

Theorem or_of_exists : forall P Q : nat -> Prop, (exists n, P n) \/ (exists n, Q n) -> exists n, P n \/ Q n.
Proof.
  intros P Q H.
  destruct H as [H | H].
  destruct H as [n HP].
  exists n.
  left.
  exact HP.
  destruct H as [n HQ].
  exists n.
  right.
  exact HQ.
Qed.

Theorem none_means_not : forall P : nat -> Prop, ~ (exists n, P n) -> forall n, ~ P n.
Proof.
  intros P H n HP.
  apply H.
  exists n.
  exact HP.
Qed.

Theorem counterexample : forall P : nat -> Prop, (exists n, ~ P n) -> ~ (forall n, P n).
Proof.
  intros P H HA.
  destruct H as [n HN].
  apply HN.
  apply HA.
Qed.

Theorem climb_two : forall P : nat -> Prop, P 0 -> (forall n, P n -> P (S n)) -> P 2.
Proof.
  intros P H0 HS.
  apply HS.
  apply HS.
  exact H0.
Qed.

Theorem climb_all : forall P : nat -> Prop, P 0 -> (forall n, P n -> P (S n)) -> forall n, P n.
Proof.
  intros P H0 HS n.
  induction n.
  exact H0.
  apply HS.
  exact IHn.
Qed.

Theorem climb_by_two :
  forall P : nat -> Prop, P 0 -> P 1 -> (forall n, P n -> P (S (S n))) -> forall n, P n /\ P (S n).
Proof.
  intros P H0 H1 HS n.
  induction n.
  split.
  exact H0.
  exact H1.
  destruct IHn as [Ha Hb].
  split.
  exact Hb.
  apply HS.
  exact Ha.
Qed.

Theorem fixed_chain : forall (f : nat -> nat) (a : nat), f a = a -> f (f (f a)) = a.
Proof.
  intros f a H.
  rewrite H.
  rewrite H.
  rewrite H.
  reflexivity.
Qed.

Theorem left_inverse :
  forall (f g : nat -> nat) (a b : nat), (forall x, g (f x) = x) -> f a = f b -> a = b.
Proof.
  intros f g a b H E.
  rewrite <- (H a).
  rewrite E.
  apply H.
Qed.

Theorem same_steps :
  forall f g : nat -> nat, f 0 = g 0 -> (forall n, f (S n) = f n + n) -> (forall n, g (S n) = g n + n) ->
    forall n, f n = g n.
Proof.
  intros f g H0 Hf Hg n.
  induction n.
  exact H0.
  rewrite Hf.
  rewrite Hg.
  rewrite IHn.
  reflexivity.
Qed.

Theorem constant_steps : forall (f : nat -> nat) (c : nat), f 0 = c -> (forall n, f (S n) = f n) -> forall n, f n = c.
Proof.
  intros f c H0 HS n.
  induction n.
  exact H0.
  rewrite HS.
  exact IHn.
Qed.

Theorem growing_steps : forall f : nat -> nat, (forall n, f n < f (S n)) -> forall n, n <= f n.
Proof.
  intros f H n.
  induction n.
  lia.
  specialize (H n).
  lia.
Qed.

(* Truth values *)

Theorem negb_twice : forall a : bool, negb (negb a) = a.
Proof.
  intros a.
  destruct a.
  reflexivity.
  reflexivity.
Qed.

Theorem andb_swap : forall a b : bool, andb a b = andb b a.
Proof.
  intros a b.
  destruct a.
  destruct b.
  reflexivity.
  reflexivity.
  destruct b.
  reflexivity.
  reflexivity.
Qed.

Theorem orb_regroup : forall a b c : bool, orb a (orb b c) = orb (orb a b) c.
Proof.
  intros a b c.
  destruct a.
  reflexivity.
  reflexivity.
Qed.

Theorem negb_of_and : forall a b : bool, negb (andb a b) = orb (negb a) (negb b).
Proof.
  intros a b.
  destruct a.
  reflexivity.
  reflexivity.
Qed.

Theorem and_over_orb : forall a b c : bool, andb a (orb b c) = orb (andb a b) (andb a c).
Proof.
  intros a b c.
  destruct a.
  reflexivity.
  reflexivity.
Qed.

Theorem xorb_self : forall a : bool, xorb a a = false.
Proof.
  intros a.
  destruct a.
  reflexivity.
  reflexivity.
Qed.

Theorem if_same : forall (a : bool) (n : nat), (if a then n else n) = n.
Proof.
  intros a n.
  destruct a.
  reflexivity.
  reflexivity.
Qed.

Theorem andb_left : forall a b : bool, andb a b = true -> a = true.
Proof.
  intros a b H.
  destruct a.
  reflexivity.
  discriminate.
Qed.

Theorem if_not : forall (a : bool) (n m : nat), (if negb a then n else m) = (if a then m else n).
Proof.
  intros a n m.
  destruct a.
  reflexivity.
  reflexivity.
Qed.

(* Natural numbers *)

Theorem add_regroup : forall a b c : nat, a + (b + c) = (a + b) + c.
Proof.
  intros a b c.
  lia.
Qed.

Theorem order_chain : forall a b c : nat, a < b -> b < c -> a + 1 < c.
Proof.
  intros a b c H1 H2.
  lia.
Qed.

Theorem linear_pair : forall x y : nat, x + y = 10 -> x = y + 2 -> x = 6.
Proof.
  intros x y H1 H2.
  lia.
Qed.

Theorem square_of_sum : forall a b : nat, (a + b) * (a + b) = a * a + 2 * (a * b) + b * b.
Proof.
  intros a b.
  ring.
Qed.

Theorem product_positive : forall a b : nat, 0 < a -> 0 < b -> 0 < a * b.
Proof.
  intros a b Ha Hb.
  nia.
Qed.

Theorem double_is_sum : forall n : nat, double n = n + n.
Proof.
  intros n.
  induction n.
  reflexivity.
  simpl.
  lia.
Qed.

Theorem double_add : forall n m : nat, double (n + m) = double n + double m.
Proof.
  intros n m.
  induction n.
  reflexivity.
  simpl.
  rewrite IHn.
  reflexivity.
Qed.

Theorem double_at_least : forall n : nat, n <= double n.
Proof.
  intros n.
  induction n.
  simpl.
  lia.
  simpl.
  lia.
Qed.

Theorem half_of_double : forall n : nat, half (double n) = n.
Proof.
  intros n.
  induction n.
  reflexivity.
  simpl.
  rewrite IHn.
  reflexivity.
Qed.

Theorem sum_to_closed : forall n : nat, 2 * sum_to n = n * (n + 1).
Proof.
  intros n.
  induction n.
  reflexivity.
  simpl sum_to.
  lia.
Qed.

Theorem sum_odd_square : forall n : nat, sum_odd n = n * n.
Proof.
  intros n.
  induction n.
  reflexivity.
  simpl.
  lia.
Qed.

Theorem pow2_positive : forall n : nat, 0 < pow2 n.
Proof.
  intros n.
  induction n.
  simpl.
  lia.
  simpl.
  lia.
Qed.

Theorem pow2_above : forall n : nat, n < pow2 n.
Proof.
  intros n.
  induction n.
  simpl.
  lia.
  simpl.
  lia.
Qed.

Theorem pow2_add : forall n m : nat, pow2 (n + m) = pow2 n * pow2 m.
Proof.
  intros n m.
  induction n.
  simpl.
  lia.
  simpl.
  lia.
Qed.

Theorem sum_pow2_closed : forall n : nat, sum_pow2 n + 1 = pow2 (S n).
Proof.
  intros n.
  induction n.
  reflexivity.
  simpl in *.
  lia.
Qed.

Theorem power_of_one : forall n : nat, power 1 n = 1.
Proof.
  intros n.
  induction n.
  reflexivity.
  simpl.
  lia.
Qed.

Theorem power_add : forall b n m : nat, power b (n + m) = power b n * power b m.
Proof.
  intros b n m.
  induction n.
  simpl.
  lia.
  simpl.
  rewrite IHn.
  lia.
Qed.

Theorem power_positive : forall b n : nat, 0 < b -> 0 < power b n.
Proof.
  intros b n H.
  induction n.
  simpl.
  lia.
  simpl.
  nia.
Qed.

Theorem power_of_product : forall a b n : nat, power (a * b) n = power a n * power b n.
Proof.
  intros a b n.
  induction n.
  reflexivity.
  simpl.
  rewrite IHn.
  lia.
Qed.

Theorem factorial_positive : forall n : nat, 0 < factorial n.
Proof.
  intros n.
  induction n.
  simpl.
  lia.
  simpl.
  lia.
Qed.

Theorem even_step : forall n : nat, is_even (S (S n)) = is_even n.
Proof.
  intros n.
  simpl.
  destruct (is_even n).
  reflexivity.
  reflexivity.
Qed.

Theorem even_double : forall n : nat, is_even (double n) = true.
Proof.
  intros n.
  induction n.
  reflexivity.
  simpl.
  rewrite IHn.
  reflexivity.
Qed.

Theorem even_sum : forall n m : nat, is_even (n + m) = eqb (is_even n) (is_even m).
Proof.
  intros n m.
  induction n.
  simpl.
  destruct (is_even m).
  reflexivity.
  reflexivity.
  simpl.
  rewrite IHn.
  destruct (is_even n).
  destruct (is_even m).
  reflexivity.
  reflexivity.
  destruct (is_even m).
  reflexivity.
  reflexivity.
Qed.

Theorem sum_of_evens :
  forall a b : nat, (exists k, a = 2 * k) -> (exists k, b = 2 * k) -> exists k, a + b = 2 * k.
Proof.
  intros a b Ha Hb.
  destruct Ha as [k Hk].
  destruct Hb as [m Hm].
  exists (k + m).
  lia.
Qed.

Theorem sum_of_odds :
  forall a b : nat, (exists k, a = 2 * k + 1) -> (exists k, b = 2 * k + 1) -> exists k, a + b = 2 * k.
Proof.
  intros a b Ha Hb.
  destruct Ha as [k Hk].
  destruct Hb as [m Hm].
  exists (k + m + 1).
  lia.
Qed.

Theorem square_of_even : forall a : nat, (exists k, a = 2 * k) -> exists k, a * a = 4 * k.
Proof.
  intros a H.
  destruct H as [k Hk].
  exists (k * k).
  subst.
  lia.
Qed.

Theorem multiple_of_multiple : forall a b : nat, (exists k, a = 6 * k) -> (b = a * 5) -> exists k, b = 10 * k.
Proof.
  intros a b Ha Hb.
  destruct Ha as [k Hk].
  exists (3 * k).
  lia.
Qed.

Theorem even_or_odd : forall n : nat, exists k, n = 2 * k \/ n = 2 * k + 1.
Proof.
  intros n.
  induction n.
  exists 0.
  lia.
  destruct IHn as [k Hk].
  destruct Hk as [Hk | Hk].
  exists k.
  lia.
  exists (k + 1).
  lia.
Qed.

Theorem product_of_neighbours : forall n : nat, exists k, n * (n + 1) = 2 * k.
Proof.
  intros n.
  induction n.
  exists 0.
  reflexivity.
  destruct IHn as [k Hk].
  exists (k + n + 1).
  lia.
Qed.

Theorem larger_exists : forall n : nat, exists m, n < m /\ m < n + 2.
Proof.
  intros n.
  exists (n + 1).
  lia.
Qed.

(* Whole numbers *)

Theorem int_linear : forall x y : Z, (2 * x + y = 7 -> x - y = 2 -> x = 3)%Z.
Proof.
  intros x y H1 H2.
  lia.
Qed.

Theorem int_difference_of_squares : forall a b : Z, ((a + b) * (a - b) = a * a - b * b)%Z.
Proof.
  intros a b.
  ring.
Qed.

Theorem int_square_nonnegative : forall a : Z, (0 <= a * a)%Z.
Proof.
  intros a.
  nia.
Qed.

Theorem int_no_half : forall a : Z, (2 * a <> 7)%Z.
Proof.
  intros a.
  lia.
Qed.

Theorem int_two_squares : forall a b : Z, (2 * (a * b) <= a * a + b * b)%Z.
Proof.
  intros a b.
  assert (0 <= (a - b) * (a - b))%Z.
  apply Z.square_nonneg.
  lia.
Qed.

Theorem int_product_of_odds :
  forall a b : Z, (exists k, a = 2 * k + 1)%Z -> (exists k, b = 2 * k + 1)%Z -> (exists k, a * b = 2 * k + 1)%Z.
Proof.
  intros a b Ha Hb.
  destruct Ha as [k Hk].
  destruct Hb as [m Hm].
  exists (2 * k * m + k + m)%Z.
  subst.
  lia.
Qed.

Theorem int_divides_sum :
  forall a b : Z, (exists k, a = 3 * k)%Z -> (exists k, b = 3 * k)%Z -> (exists k, a - b = 3 * k)%Z.
Proof.
  intros a b Ha Hb.
  destruct Ha as [k Hk].
  destruct Hb as [m Hm].
  exists (k - m)%Z.
  lia.
Qed.

Theorem int_solution : exists x : Z, (5 * x + 4 = 19)%Z.
Proof.
  exists 3%Z.
  reflexivity.
Qed.

Theorem int_scaled_solution : forall a : Z, exists x : Z, (x + 3 * a = 7 * a)%Z.
Proof.
  intros a.
  exists (4 * a)%Z.
  lia.
Qed.

(* Lists *)

Theorem join_nil : forall l : list nat, join l [] = l.
Proof.
  intros l.
  induction l.
  reflexivity.
  simpl.
  rewrite IHl.
  reflexivity.
Qed.

Theorem join_regroup : forall a b c : list nat, join (join a b) c = join a (join b c).
Proof.
  intros a b c.
  induction a.
  reflexivity.
  simpl.
  rewrite IHa.
  reflexivity.
Qed.

Theorem size_join : forall l m : list nat, size (join l m) = size l + size m.
Proof.
  intros l m.
  induction l.
  reflexivity.
  simpl.
  rewrite IHl.
  reflexivity.
Qed.

Theorem total_join : forall l m : list nat, total (join l m) = total l + total m.
Proof.
  intros l m.
  induction l.
  reflexivity.
  simpl.
  lia.
Qed.

Theorem size_snoc : forall (l : list nat) (x : nat), size (snoc l x) = S (size l).
Proof.
  intros l x.
  induction l.
  reflexivity.
  simpl.
  rewrite IHl.
  reflexivity.
Qed.

Theorem total_snoc : forall (l : list nat) (x : nat), total (snoc l x) = total l + x.
Proof.
  intros l x.
  induction l.
  simpl.
  lia.
  simpl.
  lia.
Qed.

Theorem snoc_is_join : forall (l : list nat) (x : nat), snoc l x = join l [x].
Proof.
  intros l x.
  induction l.
  reflexivity.
  simpl.
  rewrite IHl.
  reflexivity.
Qed.

Theorem reverse_of_snoc : forall (l : list nat) (x : nat), reverse (snoc l x) = x :: reverse l.
Proof.
  intros l x.
  induction l.
  reflexivity.
  simpl.
  rewrite IHl.
  reflexivity.
Qed.

Theorem reverse_twice :
  forall l : list nat, (forall m x, reverse (snoc m x) = x :: reverse m) -> reverse (reverse l) = l.
Proof.
  intros l H.
  induction l.
  reflexivity.
  simpl.
  rewrite H.
  rewrite IHl.
  reflexivity.
Qed.

Theorem size_reverse :
  forall l : list nat, (forall m x, size (snoc m x) = S (size m)) -> size (reverse l) = size l.
Proof.
  intros l H.
  induction l.
  reflexivity.
  simpl.
  rewrite H.
  rewrite IHl.
  reflexivity.
Qed.

Theorem size_copies : forall x n : nat, size (copies x n) = n.
Proof.
  intros x n.
  induction n.
  reflexivity.
  simpl.
  rewrite IHn.
  reflexivity.
Qed.

Theorem total_copies : forall x n : nat, total (copies x n) = n * x.
Proof.
  intros x n.
  induction n.
  reflexivity.
  simpl.
  rewrite IHn.
  reflexivity.
Qed.

Theorem map_keeps_length : forall (f : nat -> nat) (l : list nat), length (map f l) = length l.
Proof.
  intros f l.
  induction l.
  reflexivity.
  simpl.
  rewrite IHl.
  reflexivity.
Qed.

Theorem map_of_identity : forall l : list nat, map (fun x => x) l = l.
Proof.
  intros l.
  induction l.
  reflexivity.
  simpl.
  rewrite IHl.
  reflexivity.
Qed.

Theorem map_after_map : forall (f g : nat -> nat) (l : list nat), map f (map g l) = map (fun x => f (g x)) l.
Proof.
  intros f g l.
  induction l.
  reflexivity.
  simpl.
  rewrite IHl.
  reflexivity.
Qed.

Theorem map_append : forall (f : nat -> nat) (l m : list nat), map f (l ++ m) = map f l ++ map f m.
Proof.
  intros f l m.
  induction l.
  reflexivity.
  simpl.
  rewrite IHl.
  reflexivity.
Qed.

Theorem every_append : forall l m : list bool, every (l ++ m) = andb (every l) (every m).
Proof.
  intros l m.
  induction l.
  reflexivity.
  simpl.
  rewrite IHl.
  destruct a.
  reflexivity.
  reflexivity.
Qed.

Theorem some_append : forall l m : list bool, some_true (l ++ m) = orb (some_true l) (some_true m).
Proof.
  intros l m.
  induction l.
  reflexivity.
  simpl.
  rewrite IHl.
  destruct a.
  reflexivity.
  reflexivity.
Qed.

Theorem in_append_left : forall (x : nat) (l m : list nat), In x l -> In x (l ++ m).
Proof.
  intros x l m H.
  induction l.
  destruct H.
  destruct H as [H | H].
  left.
  exact H.
  right.
  apply IHl.
  exact H.
Qed.

Theorem cons_head : forall (x y : nat) (l m : list nat), x :: l = y :: m -> x = y.
Proof.
  intros x y l m H.
  injection H as Ha Hb.
  exact Ha.
Qed.

(* Trees *)

Theorem mirror_twice : forall t : tree, mirror (mirror t) = t.
Proof.
  intros t.
  induction t.
  reflexivity.
  simpl.
  rewrite IHt1.
  rewrite IHt2.
  reflexivity.
Qed.

Theorem nodes_of_mirror : forall t : tree, nodes (mirror t) = nodes t.
Proof.
  intros t.
  induction t.
  reflexivity.
  simpl.
  lia.
Qed.

Theorem leaves_and_nodes : forall t : tree, leaves t = nodes t + 1.
Proof.
  intros t.
  induction t.
  reflexivity.
  simpl.
  lia.
Qed.

Theorem leaves_positive : forall t : tree, 0 < leaves t.
Proof.
  intros t.
  induction t.
  simpl.
  lia.
  simpl.
  lia.
Qed.
