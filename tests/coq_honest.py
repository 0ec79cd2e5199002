# ruff: noqa: E501  # one text a line
"""True statements with proofs that must never be refused: data for test_coq_verdicts.py.

SCRIPTS: prelude -> rows of (type, proof script); many restate lemmas of the libraries. FILES: whole files as people and
models write them, (prelude, statement, file), the theorem named ``t``.
"""

from __future__ import annotations

CORE = ""
ARITH = "Require Import Arith Lia.\n"
LISTS = "Require Import List Lia Permutation.\nImport ListNotations.\n"
INTEGERS = "Require Import ZArith Lia.\nOpen Scope Z_scope.\n"
REALS = "Require Import Reals Lra.\nOpen Scope R_scope.\n"
LOGIC = "Require Import Classical FunctionalExtensionality.\n"
SSR = "From mathcomp Require Import ssreflect ssrfun ssrbool eqtype ssrnat seq.\n"
COQUELICOT = "Require Import Reals Lra.\nRequire Import Coquelicot.Coquelicot.\nOpen Scope R_scope.\n"

SCRIPTS: dict[str, tuple[tuple[str, str], ...]] = {
    CORE: (
        ("forall n : nat, n + 0 = n", "intros n. induction n as [|n IH].\n- reflexivity.\n- simpl. rewrite IH. reflexivity."),
        ("forall n : nat, n = n + 0", "exact plus_n_O."),
        ("forall n m : nat, S (n + m) = n + S m", "exact plus_n_Sm."),
        ("forall n m : nat, n = m -> S n = S m", "exact eq_S."),
        ("forall n : nat, 0 <> S n", "exact O_S."),
        ("forall n : nat, n <> S n", "exact n_Sn."),
        ("forall n : nat, 0 = n * 0", "exact mult_n_O."),
        ("forall A B : Prop, A /\\ B -> B /\\ A", "intros A B [a b]. split; assumption."),
        ("forall A B : Prop, A \\/ B -> B \\/ A", "intros A B [a | b]; [right | left]; assumption."),
        ("forall A B C : Prop, (A -> B -> C) -> (A /\\ B -> C)", "tauto."),
        ("forall A : Prop, ~ ~ (A \\/ ~ A)", "intros A H. apply H. right. intro a. apply H. left. exact a."),
        ("forall (T : Type) (P : T -> Prop), ~ (exists x, P x) -> forall x, ~ P x", "firstorder."),
        ("forall (T : Type) (x y z : T), x = y -> y = z -> x = z", "intros T x y z -> ->. reflexivity."),
        ("forall b c : bool, andb b c = andb c b", "destruct b, c; reflexivity."),
        ("forall b : bool, negb (negb b) = b", "now destruct b."),
        ("forall b c : bool, negb (andb b c) = orb (negb b) (negb c)", "Proof. intros [] []; trivial. Qed."),
        ("exists n : nat, n * n = 49", "exists 7. reflexivity."),
        ("forall (A : Type) (x y : A), x = y -> y = x", "Proof with auto.\nintros A x y H. symmetry..."),
        ("forall n m : nat, n + m = m + n", "induction n; intros m; simpl; [apply plus_n_O | rewrite IHn; apply plus_n_Sm]."),
        ("forall n : nat, n <= n", "constructor."),
        ("forall n m : nat, n <= m -> S n <= S m", "intros n m H. induction H; [constructor | constructor; assumption]."),
        ("forall (A : Type) (P : A -> Prop) (a : A), P a -> exists x, P x", "intros A P a H. { exists a. { exact H. } }"),
        ("True", "exact I."),
        ("~ False", "unfold not. intro H. exact H."),
        ("forall n : nat, n + 0 = n", "fix IH 1. intros [|n]. reflexivity. simpl. f_equal. apply IH."),
        ("forall A B : Prop, A -> B -> A /\\ B", "1: intros A B a b. all: split. 2: exact b. exact a."),
        ("2 + 2 = 4", "Time reflexivity."),
        ("forall n : nat, n = n", "(* a remark (* nested *) with \"a string. \" *) intros n. (* . *) reflexivity."),
    ),
    ARITH: (
        ("forall n m : nat, n * m = m * n", "exact Nat.mul_comm."),
        ("forall n m p : nat, n * (m + p) = n * m + n * p", "exact Nat.mul_add_distr_l."),
        ("forall n m p : nat, n + (m + p) = n + m + p", "exact Nat.add_assoc."),
        ("forall n m p : nat, n <= m -> m <= p -> n <= p", "exact Nat.le_trans."),
        ("forall n m : nat, n <= m -> m <= n -> n = m", "exact Nat.le_antisymm."),
        ("forall n m : nat, n < m \\/ n = m \\/ m < n", "exact Nat.lt_total."),
        ("forall n m : nat, n - m + m = max n m", "intros. lia."),
        ("forall n m : nat, (n =? m) = true <-> n = m", "exact Nat.eqb_eq."),
        ("forall a b : nat, (a + b) * (a + b) = a * a + 2 * a * b + b * b", "intros. ring."),
        ("forall n : nat, Nat.even (2 * n) = true", "intros n. rewrite Nat.even_mul. reflexivity."),
        ("forall n m : nat, m <> 0 -> n mod m < m", "exact Nat.mod_upper_bound."),
        ("forall n m p : nat, Nat.divide n m -> Nat.divide m p -> Nat.divide n p", "exact Nat.divide_trans."),
        ("forall n m : nat, Nat.gcd n m = Nat.gcd m n", "exact Nat.gcd_comm."),
        ("forall n : nat, n < 2 ^ n", "intros n. apply Nat.pow_gt_lin_r. lia."),
        ("forall a n m : nat, a ^ (n + m) = a ^ n * a ^ m", "exact Nat.pow_add_r."),
        ("17 * 19 = 323", "vm_compute. reflexivity."),
        ("forall n : nat, n <= 3 -> n * n <= 9", "intros n H. assert (n = 0 \\/ n = 1 \\/ n = 2 \\/ n = 3) as [-> | [-> | [-> | ->]]] by lia; lia."),
        ("forall P : nat -> Prop, P 0 -> (forall n, P n -> P (S n)) -> forall n, P n", "exact nat_ind."),
        ("forall n m p : nat, n < m -> n + p < m + p", "intros; lia."),
        ("forall n : nat, ~ n < n", "exact Nat.lt_irrefl."),
        ("forall n : nat, exists m, n = 2 * m \\/ n = 2 * m + 1", "intros n. destruct (Nat.Even_or_Odd n) as [[m H] | [m H]]; exists m; [left | right]; assumption."),
        ("forall n m : nat, n ^ 2 - m ^ 2 = (n - m) * (n + m)", "intros n m. simpl. nia."),
        ("well_founded lt", "exact lt_wf."),
        ("forall n : nat, 2 * (fix s n := match n with 0 => 0 | S k => n + s k end) n = n * (n + 1)", "induction n as [|n IH]; [reflexivity | simpl in *; nia]."),
    ),
    LISTS: (
        ("forall (A : Type) (l : list A), l ++ [] = l", "exact app_nil_r."),
        ("forall (A : Type) (l m n : list A), l ++ m ++ n = (l ++ m) ++ n", "exact app_assoc."),
        ("forall (A : Type) (l : list A), rev (rev l) = l", "exact rev_involutive."),
        ("forall (A : Type) (l m : list A), length (l ++ m) = length l + length m", "induction l as [|x l IH]; intros m; simpl; [reflexivity | now rewrite IH]."),
        ("forall (A B : Type) (f : A -> B) l, length (map f l) = length l", "exact map_length."),
        ("forall (A B C : Type) (f : A -> B) (g : B -> C) l, map g (map f l) = map (fun x => g (f x)) l", "exact map_map."),
        ("forall (A : Type) (x : A) l m, In x (l ++ m) <-> In x l \\/ In x m", "intros A x l m. apply in_app_iff."),
        ("forall (A : Type) (l : list A), length (rev l) = length l", "exact rev_length."),
        ("forall (A : Type) (l : list A), Permutation l (rev l)", "exact Permutation_rev."),
        ("forall (A : Type) (l m : list A), Permutation (l ++ m) (m ++ l)", "intros. apply Permutation_app_comm."),
        ("forall l : list nat, fold_left plus l 0 = fold_right plus 0 l", "intros l. apply fold_symmetric; intros; lia."),
        ("forall (A : Type) (P : A -> Prop) l, Forall P l <-> forall x, In x l -> P x", "exact Forall_forall."),
        ("[1; 2] ++ [3] = [1; 2; 3]", "reflexivity."),
        ("forall (A : Type) (l : list A) n, firstn n l ++ skipn n l = l", "intros A l n. apply firstn_skipn."),
        ("forall n, length (seq 0 n) = n", "intros n. apply seq_length."),
        ("forall (A : Type) (a : A) n, length (repeat a n) = n", "intros A a n. induction n; simpl; congruence."),
    ),
    INTEGERS: (
        ("forall a b : Z, a + b = b + a", "exact Z.add_comm."),
        ("forall a b : Z, (a - b) * (a + b) = a * a - b * b", "intros; ring."),
        ("forall a : Z, 0 <= a * a", "exact Z.square_nonneg."),
        ("forall a b : Z, a < b -> a + 1 <= b", "intros; lia."),
        ("forall a b : Z, b <> 0 -> a = b * (a / b) + a mod b", "exact Z.div_mod."),
        ("forall n : Z, (n * (n + 1)) mod 2 = 0", "intros n. rewrite Zmult_mod, Zplus_mod. assert (n mod 2 = 0 \\/ n mod 2 = 1) as [-> | ->] by (pose proof (Z.mod_pos_bound n 2); lia); reflexivity."),
        ("forall a b : Z, Z.gcd a b = Z.gcd b a", "exact Z.gcd_comm."),
        ("2 ^ 10 = 1024", "reflexivity."),
        ("3 ^ 100 mod 7 = 4", "vm_compute. reflexivity."),
        ("forall x y : Z, 2 * x + 1 <> 2 * y", "intros; lia."),
        ("forall x : Z, Z.abs x >= 0", "intros x. lia."),
        ("forall x y : Z, x * y = 0 -> x = 0 \\/ y = 0", "intros x y H. apply Z.eq_mul_0. exact H."),
        ("forall x y z : Z, x <= y -> 0 <= z -> x * z <= y * z", "exact Z.mul_le_mono_nonneg_r || (intros; nia)."),
        ("exists x y : Z, 3 * x + 5 * y = 1", "exists 2, (-1). reflexivity."),
        ("forall a b : Z, a * a + b * b >= 2 * a * b", "intros a b. pose proof (Z.square_nonneg (a - b)). lia."),
    ),
    REALS: (
        ("forall x y : R, x + y = y + x", "exact Rplus_comm."),
        ("forall x y : R, x * x + y * y >= 2 * x * y", "intros x y. pose proof (Rle_0_sqr (x - y)). unfold Rsqr in H. lra."),
        ("forall x : R, x * x = 4 -> x = 2 \\/ x = -2", "intros x H. assert ((x - 2) * (x + 2) = 0) by lra. destruct (Rmult_integral _ _ H0); lra."),
        ("forall x : R, 0 <= x ^ 2", "intros x. apply pow2_ge_0."),
        ("forall x y : R, x < y -> exists z, x < z < y", "intros x y H. exists ((x + y) / 2). lra."),
        ("forall x : R, x <> 0 -> x * / x = 1", "exact Rinv_r."),
        ("sqrt 4 = 2", "replace 4 with (2 * 2) by lra. apply sqrt_square. lra."),
        ("forall x : R, 0 <= x -> sqrt x * sqrt x = x", "exact sqrt_sqrt."),
        ("forall x : R, sin x * sin x + cos x * cos x = 1", "exact sin2_cos2."),
        ("exp 0 = 1", "exact exp_0."),
        ("forall x y : R, exp (x + y) = exp x * exp y", "exact exp_plus."),
        ("forall x y : R, Rabs (x + y) <= Rabs x + Rabs y", "exact Rabs_triang."),
        ("forall x y : R, x + y = 10 -> x - y = 2 -> x = 6 /\\ y = 4", "intros. split; lra."),
        ("forall a b c : R, a < b -> 0 < c -> a * c < b * c", "intros. apply Rmult_lt_compat_r; assumption."),
        ("forall x : R, x <> 1 -> (x ^ 2 - 1) / (x - 1) = x + 1", "intros x H. field. lra."),
        ("forall f : R -> R, (forall x, f x = 2 * x + 1) -> f 3 = 7", "intros f H. rewrite H. lra."),
        ("forall x y : R, x * y = 0 -> x = 0 \\/ y = 0", "exact Rmult_integral."),
        ("forall x : R, x ^ 2 - 2 * x + 1 >= 0", "intros x. pose proof (pow2_ge_0 (x - 1)). lra."),
        ("exists x : R, x * x = 2", "exists (sqrt 2). apply sqrt_sqrt. lra."),
        ("forall x : R, {n : Z | IZR n > x}", "intros x. exists (up x). exact (proj1 (archimed x))."),
    ),
    LOGIC: (
        ("forall P : Prop, P \\/ ~ P", "exact classic."),
        ("forall P : Prop, ~ ~ P -> P", "exact NNPP."),
        ("forall (A B : Type) (f g : A -> B), (forall x, f x = g x) -> f = g", "intros A B f g H. extensionality x. apply H."),
        ("forall P Q : Prop, ~ (P /\\ Q) -> ~ P \\/ ~ Q", "exact not_and_or."),
        ("forall (T : Type) (P : T -> Prop), ~ (forall x, P x) -> exists x, ~ P x", "exact not_all_ex_not."),
        ("forall P : Prop, P -> P", "now intros."),
    ),
    SSR: (
        ("forall n m : nat, n + m = m + n", "move=> n m; exact: addnC."),
        ("forall n : nat, n * 0 = 0", "by move=> n; rewrite muln0."),
        ("forall b : bool, b || ~~ b", "by case."),
        ("forall (T : Type) (s : seq T), size (rev s) = size s", "move=> T s; by rewrite size_rev."),
        ("forall n : nat, n <= n.+1", "by move=> n; apply: leqnSn."),
        ("forall (T : eqType) (x : T) s, x \\in x :: s", "move=> T x s; by rewrite inE eqxx."),
        ("forall n : nat, n.*2 = n + n", "elim=> [|n IHn] //; by rewrite doubleS IHn addnS addSn."),
        ("forall m n : nat, m <= n -> m - n = 0", "move=> m n le_mn; apply/eqP; by rewrite subn_eq0."),
    ),
    COQUELICOT: (
        ("forall x : R, is_derive (fun y => y ^ 2) x (2 * x)", "intros x. auto_derive; [trivial | ring]."),
        ("forall x : C, Cplus x (RtoC 0) = x", "intros [a b]. unfold Cplus, RtoC; simpl. f_equal; ring."),
        ("Cmult Ci Ci = RtoC (-1)", "unfold Cmult, Ci, RtoC. simpl. f_equal; ring."),
        ("forall a b c : R, RInt (fun _ => c) a b = (b - a) * c", "intros. rewrite RInt_const. reflexivity."),
        ("forall z : C, Cmod z >= 0", "intros z. apply Rle_ge, Cmod_ge_0."),
    ),
}  # fmt: skip

_TRUE = "Theorem t : forall n : nat, n + 0 = n."
FILES: tuple[tuple[str, str, str], ...] = (
    ("", _TRUE, f"{_TRUE}\nProof. intros n. induction n; simpl; congruence. Qed."),
    ("", _TRUE, "Lemma t : forall m : nat, m + 0 = m. Proof. auto. Qed."),
    ("", _TRUE, "Definition t : forall n : nat, n + 0 = n := fun n => eq_sym (plus_n_O n)."),
    ("", _TRUE, "Theorem t (n : nat) : n + 0 = n. Proof. induction n as [|n IH]; [easy|]. simpl. now rewrite IH. Defined."),
    ("", _TRUE, "Require Import Lia.\nCorollary t : forall n, n + 0 = n.\nProof. intros; lia. Qed.\nPrint Assumptions t."),
    ("", _TRUE, "intros n. induction n; simpl; congruence."),
    ("", _TRUE, "Proof.\nintros n.\nauto.\nQed."),
    ("", _TRUE, "```".replace("```", "") + f"Section S. Variable k : nat. Lemma h : k + 0 = k. Proof. auto. Qed. End S. {_TRUE} Proof. exact h. Qed."),
    ("", _TRUE, f"Module M. Lemma h n : n + 0 = n. Proof. auto. Qed. End M. Import M. {_TRUE} Proof. exact h. Qed."),
    ("", _TRUE, f"Fixpoint add2 (n m : nat) := match n with 0 => m | S k => S (add2 k m) end. Lemma a n : add2 n 0 = n. Proof. induction n; simpl; congruence. Qed. {_TRUE} Proof. exact a. Qed."),
    ("", _TRUE, f"Inductive even : nat -> Prop := E0 : even 0 | E2 : forall n, even n -> even (S (S n)). Hint Constructors even : core. Lemma e4 : even 4. Proof. auto. Qed. {_TRUE} Proof. pose proof e4. auto. Qed."),
    ("", _TRUE, f"Ltac crush := simpl; try congruence. Tactic Notation \"ind\" ident(x) := induction x; crush. {_TRUE} Proof. intro n. ind n. Qed."),
    ("", _TRUE, f"Local Open Scope nat_scope. Set Implicit Arguments. #[local] Hint Resolve plus_n_O : core. Compute 1 + 1. Check nat. {_TRUE} Proof. auto. Qed."),
    ("", _TRUE, f"Notation \"'double' x\" := (x + x) (at level 10). Lemma d : double 2 = 4. Proof. reflexivity. Qed. {_TRUE} Proof. auto. Qed."),
    ("", _TRUE, f"Record point := {{ px : nat; py : nat }}. Definition o := {{| px := 0; py := 0 |}}. Lemma po : px o = 0. Proof. trivial. Qed. {_TRUE} Proof. auto. Qed."),
    ("", _TRUE, f"Class Zero (A : Type) := zero : A. Instance zn : Zero nat := 0. Lemma zz : zero = 0. Proof. reflexivity. Qed. {_TRUE} Proof. auto. Qed."),
    ("", _TRUE, f"Theorem t0 : False -> True. Proof. Abort. {_TRUE} Proof. auto. Qed."),
    ("", _TRUE, f"{_TRUE} Proof. assert (H : forall n, n + 0 = n). {{ intros n. auto. }} exact H. Qed. Fail Check foo."),
    ("", _TRUE, "Require Import Program. Program Definition f (n : nat) : {m : nat | m = n} := n. Theorem t : forall n : nat, n + 0 = n. Proof. auto. Qed."),
    ("", _TRUE, (
        "Require Import List Arith Lia. Inductive tree := Node : nat -> list tree -> tree."
        " Fixpoint size (t : tree) : nat := match t with Node _ l => S (fold_right (fun t n => size t + n) 0 l) end."
        " Fixpoint size2 (t : tree) {struct t} : nat := match t with Node n l => S ((fix aux (l : list tree) :="
        " match l with nil => 0 | cons t l => size2 t + aux l end) l) end."
        " Fixpoint each (P : tree -> Prop) (H : forall n l, Forall P l -> P (Node n l)) (t : tree) {struct t} : P t :="
        " match t with Node n l => H n l ((fix go (l : list tree) : Forall P l := match l with nil => Forall_nil _"
        " | cons x r => Forall_cons _ (each P H x) (go r) end) l) end."
        " Theorem t : forall n : nat, n + 0 = n. Proof. pose (u := (size, size2, each)). auto. Qed."
    )),
    ("", _TRUE, (
        "Require Import Arith. Fixpoint dec (n : nat) : nat := match n with 0 => 0 | S m => S (dec (m - 3)) end."
        " Fixpoint ev (n : nat) := match n with 0 => true | S n => od n end"
        " with od (n : nat) := match n with 0 => false | S n => ev n end."
        " Fixpoint down (n : nat) (a : Acc lt n) {struct a} : nat := match n as m return Acc lt m -> nat with 0 => fun _ => 0"
        " | S k => fun a => S (down k (Acc_inv a (Nat.lt_succ_diag_r k))) end a."
        " Theorem t : forall n : nat, n + 0 = n. Proof. pose (u := (dec, ev, down)). auto. Qed."
    )),
    ("", _TRUE, (
        "Require Import FunInd Recdef Lia. Function half (n : nat) := match n with S (S k) => S (half k) | _ => 0 end."
        " Function gcd (a b : nat) {measure (fun x => x) b} := match b with 0 => a | S k => gcd b (Nat.modulo a b) end."
        " Proof. intros. apply PeanoNat.Nat.mod_upper_bound. discriminate. Defined."
        " Theorem t : forall n : nat, n + 0 = n. Proof. pose (u := (half, gcd)). intros; lia. Qed."
    )),
    ("", _TRUE, (
        "CoInductive stream := Cons : nat -> stream -> stream. CoFixpoint from (n : nat) := Cons n (from (S n))."
        " Definition hd (s : stream) := match s with Cons n _ => n end. Lemma h n : hd (from n) = n. Proof. reflexivity. Qed."
        " Theorem t : forall n : nat, n + 0 = n. Proof. intros n. rewrite <- (h (n + 0)). simpl. auto. Qed."
    )),
    ("Definition d (n : nat) := n + n.", "Theorem t : forall n, d n = 2 * n.",
     "Require Import Lia. Definition d (n : nat) :=  n + n. (* again *) Theorem t : forall n, d n = 2 * n. Proof. unfold d. lia. Qed."),
    ("Definition d (n : nat) := n + n.", "Theorem t : forall n, d n = 2 * n.",
     "Require Import Lia. Theorem t : forall n, n + n = 2 * n. Proof. lia. Qed."),
    ("Inductive c := r | g. Lemma l : r <> g. Proof. discriminate. Qed.", "Theorem t : g <> r.",
     "Inductive c := r | g. Lemma l : r <> g. Proof. intro H. inversion H. Qed. Theorem t : g <> r. Proof. intro H. apply l. auto. Qed."),
    ("Parameter f : nat -> nat. Axiom fe : forall n, f n = n.", "Theorem t : f 3 = 3.",
     "Parameter f : nat -> nat. Axiom fe : forall n, f n = n. Theorem t : f 3 = 3. Proof. apply fe. Qed."),
    ("Parameter f : nat -> nat. Axiom fe : forall n, f n = n.", "Theorem t : f 3 = 3.", "apply fe."),
    ("Require Import Reals.\nOpen Scope R_scope.\n", "Theorem t : forall x : R, x * x >= 0.",
     "Require Import Reals Psatz.\nOpen Scope R_scope.\nLemma h : forall x : R, 0 <= x * x. Proof. intros; nra. Qed.\nTheorem t : forall x : R, x * x >= 0.\nProof. intros x. apply Rle_ge, h. Qed."),
    ("Section S. Variable A : Type.", "Theorem t : forall x : A, x = x.", "Theorem t : forall x : A, x = x. Proof. reflexivity. Qed. End S."),
    ("Section S. Variable A : Type. Variable unused : nat.", "Theorem t : forall x : A, x = x.", "Theorem t : forall x : A, x = x. Proof. reflexivity. Qed. End S."),
    ("Section S. Variable A : Type. Hypothesis h : A.", "Theorem t : exists x : A, x = x.", "exists h. reflexivity."),
)  # fmt: skip
