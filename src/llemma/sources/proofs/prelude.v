From Coq Require Import Arith ZArith Lia List Bool.
Import ListNotations.

Fixpoint triple (n : nat) : nat := match n with 0 => 0 | S m => S (S (S (triple m))) end.
Fixpoint fivefold (n : nat) : nat := match n with 0 => 0 | S m => 5 + fivefold m end.
Fixpoint third (n : nat) : nat := match n with S (S (S m)) => S (third m) | _ => 0 end.
Fixpoint ladder (n : nat) : nat := match n with 0 => 4 | S m => ladder m + 3 end.
Fixpoint climb (k n : nat) : nat := match n with 0 => k | S m => S (S (climb k m)) end.
Fixpoint sum3 (n : nat) : nat := match n with 0 => 0 | S m => 3 * S m + sum3 m end.
Fixpoint sum_from1 (n : nat) : nat := match n with 0 => 1 | S m => S (S m) + sum_from1 m end.
Fixpoint sum_4k1 (n : nat) : nat := match n with 0 => 0 | S m => 4 * m + 1 + sum_4k1 m end.
Fixpoint sum_cubes (n : nat) : nat := match n with 0 => 0 | S m => S m * S m * S m + sum_cubes m end.
Fixpoint sum_squares (n : nat) : nat := match n with 0 => 0 | S m => S m * S m + sum_squares m end.
Fixpoint pow3 (n : nat) : nat := match n with 0 => 1 | S m => pow3 m + pow3 m + pow3 m end.
Fixpoint pow5 (n : nat) : nat := match n with 0 => 1 | S m => 5 * pow5 m end.
Fixpoint grow (n : nat) : nat := match n with 0 => 2 | S m => grow m + grow m + 1 end.
Fixpoint scaled (b n : nat) : nat := match n with 0 => 2 | S m => b * scaled b m end.
Fixpoint rising (n : nat) : nat := match n with 0 => 1 | S m => (m + 2) * rising m end.
Fixpoint odds_product (n : nat) : nat := match n with 0 => 1 | S m => (2 * m + 1) * odds_product m end.
Fixpoint is_odd (n : nat) : bool := match n with 0 => false | S m => negb (is_odd m) end.
Fixpoint blink (b : bool) (n : nat) : bool := match n with 0 => b | S m => negb (blink b m) end.
Fixpoint all_on (b : bool) (n : nat) : bool := match n with 0 => true | S m => andb b (all_on b m) end.
Fixpoint times (k n : nat) : nat := match n with 0 => 0 | S m => k + times k m end.
Fixpoint jump (f : nat -> nat) (n x : nat) : nat := match n with 0 => x | S m => f (jump f m x) end.

Fixpoint glue (l m : list bool) : list bool := match l with [] => m | x :: t => negb x :: glue t m end.
Fixpoint weight (l : list bool) : nat := match l with [] => 0 | x :: t => (if x then 2 else 1) + weight t end.
Fixpoint extent (l : list bool) : nat := match l with [] => 0 | _ :: t => S (S (extent t)) end.
Fixpoint flipped (l : list bool) : list bool := match l with [] => [] | x :: t => negb x :: flipped t end.
Fixpoint put_last (l : list bool) (x : bool) : list bool := match l with [] => [x; x] | y :: t => y :: put_last t x end.
Fixpoint turned (l : list bool) : list bool := match l with [] => [] | x :: t => put_last (turned t) x end.
Fixpoint parity (l : list bool) : bool := match l with [] => false | x :: t => xorb x (parity t) end.
Fixpoint none (l : list bool) : bool := match l with [] => true | x :: t => andb (negb x) (none t) end.
Fixpoint doubled (l : list nat) : list nat := match l with [] => [] | x :: t => x :: x :: doubled t end.
Fixpoint raised (k : nat) (l : list nat) : list nat := match l with [] => [] | x :: t => k + x :: raised k t end.
Fixpoint sum_sq (l : list nat) : nat := match l with [] => 0 | x :: t => x * x + sum_sq t end.
Fixpoint sum_2x1 (l : list nat) : nat := match l with [] => 0 | x :: t => 2 * x + 1 + sum_2x1 t end.
Fixpoint product (l : list nat) : nat := match l with [] => 1 | x :: t => x * product t end.
Fixpoint row (b : bool) (n : nat) : list bool := match n with 0 => [] | S m => b :: negb b :: row b m end.

Inductive bush : Type := tip : nat -> bush | fork : bush -> bush -> bush.
Fixpoint tips (t : bush) : nat := match t with tip _ => 1 | fork a b => tips a + tips b end.
Fixpoint forks (t : bush) : nat := match t with tip _ => 0 | fork a b => forks a + forks b + 1 end.
Fixpoint load (t : bush) : nat := match t with tip x => x | fork a b => load a + load b end.
Fixpoint swapped (t : bush) : bush := match t with tip x => tip x | fork a b => fork (swapped b) (swapped a) end.
Fixpoint lifted (k : nat) (t : bush) : bush := match t with tip x => tip (x + k) | fork a b => fork (lifted k a) (lifted k b) end.
Fixpoint same (t : bush) : bush := match t with tip x => tip x | fork a b => fork (same a) (same b) end.
