import Lean
set_option linter.all false
set_option autoImplicit false
/-! Shared by `worker.lean` and `judge.lean`, which are run as `lean --run` of this file and one of them together.

Requests are JSON lines on standard input. Answers are JSON lines on standard output, each behind the word that the
first line of the input gave (nobody who writes text for the prover can know it).

Written without loops and without polymorphic library functions over collections: builds that ship only the exported
part of the library's `.olean` files cannot compile those. `by first | exact .. | exact ..` in a definition chooses the
form that the running version has. -/
open Lean Elab

namespace Llemma

/-! ## JSON -/

def field (j : Json) (k : String) : Json := match j.getObjVal? k with | .ok v => v | _ => .null
def str (j : Json) (k : String) : String := match field j k with | .str s => s | _ => ""
def natOf (j : Json) : Nat := match j with | .num n => n.mantissa.toNat | _ => 0
def nat (j : Json) (k : String) : Nat := natOf (field j k)
def flag (j : Json) (k : String) : Bool := match field j k with | .bool b => b | _ => false
def items (j : Json) : Array Json := match j with | .arr a => a | _ => #[]
def list (j : Json) (k : String) : Array Json := items (field j k)
def num (n : Nat) : Json := .num ⟨n, 0⟩
def textOf (j : Json) : String := match j with | .str s => s | _ => ""

partial def names (a : Array Json) (i : Nat) : List Name :=
  if i < a.size then (textOf a[i]!).toName :: names a (i + 1) else []

/-! ## A hash table -/

structure Table (α : Type) where
  buckets : Array (List (α × Nat))
  size : Nat

@[noinline] def Table.empty (α : Type) : Table α := { buckets := Array.replicate 64 [], size := 0 }

partial def seek {α : Type} (eq : α → α → Bool) (x : α) : List (α × Nat) → Nat
  | [] => 0
  | (y, n) :: rest => if eq x y then n else seek eq x rest

/-- The number stored for `x`, 0 when there is none. -/
@[noinline] def Table.find {α : Type} (t : Table α) (eq : α → α → Bool) (h : UInt64) (x : α) : Nat :=
  seek eq x (t.buckets[h.toNat % t.buckets.size]!)

def place {α : Type} (hash : α → UInt64) (b : Array (List (α × Nat))) (p : α × Nat) : Array (List (α × Nat)) :=
  let i := (hash p.1).toNat % b.size
  b.set! i (p :: b[i]!)

partial def placeAll {α : Type} (hash : α → UInt64) : List (α × Nat) → Array (List (α × Nat)) → Array (List (α × Nat))
  | [], b => b
  | p :: rest, b => placeAll hash rest (place hash b p)

partial def refill {α : Type} (hash : α → UInt64) (old : Array (List (α × Nat))) (i : Nat)
    (b : Array (List (α × Nat))) : Array (List (α × Nat)) :=
  if i < old.size then refill hash old (i + 1) (placeAll hash old[i]! b) else b

@[noinline] def Table.add {α : Type} (t : Table α) (hash : α → UInt64) (x : α) (n : Nat) : Table α :=
  let b := if t.size < 2 * t.buckets.size then t.buckets
    else refill hash t.buckets 0 (Array.replicate (4 * t.buckets.size) [])
  { buckets := place hash b (x, n), size := t.size + 1 }

@[noinline] def nameEq (a b : Name) : Bool := a == b
@[noinline] def nameHash (a : Name) : UInt64 := hash a
@[noinline] def exprEq (a b : Expr) : Bool := a.equal b
@[noinline] def exprHash (a : Expr) : UInt64 := a.hash
def Table.has (t : Table Name) (n : Name) : Bool := t.find nameEq (nameHash n) n != 0
def Table.put (t : Table Name) (n : Name) (k : Nat) : Table Name := t.add nameHash n k

partial def memberOf (x : Name) : List Name → Bool
  | [] => false
  | y :: rest => x == y || memberOf x rest

/-! ## Growing what a reference holds, in place -/

/-- Appends `x`; the size afterwards. -/
def append {α : Type} (r : IO.Ref (Array α)) (x : α) : IO Nat := do
  let a ← r.swap #[]
  let n := a.size + 1
  r.set (a.push x)
  return n

def enter {α : Type} (r : IO.Ref (Table α)) (hash : α → UInt64) (x : α) (n : Nat) : IO Unit := do
  let t ← r.swap { buckets := #[], size := 0 }
  r.set (t.add hash x n)

partial def joined {α : Type} : List α → List α → List α
  | [], b => b
  | x :: a, b => x :: joined a b

/-! ## Environments and elaboration -/

def importEnv (modules : Array Import) : IO Environment :=
  by first
    | exact importModules modules {} 0 (loadExts := true)
    | exact importModules modules {} 0

partial def importsOf (a : Array Json) (i : Nat) (out : Array Import) : Array Import :=
  if i < a.size then importsOf a (i + 1) (out.push { module := (textOf a[i]!).toName }) else out

def inputOf (text : String) : Parser.InputContext :=
  by first
    | exact { inputString := text, fileName := "<text>", fileMap := FileMap.ofString text }
    | exact { input := text, fileName := "<text>", fileMap := FileMap.ofString text }
    | exact Parser.mkInputContext text "<text>"

/-- The state after the commands of `text`, with their messages alone. -/
def elaborate (state : Command.State) (text : String) : IO Command.State := do
  let done ← IO.processCommands (inputOf text) {} { state with messages := {} }
  return done.commandState

/-- Whether `n` comes from an imported module. -/
def imported (env : Environment) (n : Name) : Bool := match env.getModuleIdxFor? n with | some _ => true | none => false

def severity (m : Message) : String :=
  match m.severity with | .error => "error" | .warning => "warning" | .information => "information"

partial def messagesJson : List Message → Array Json → IO (Array Json)
  | [], out => pure out
  | m :: rest, out => do
    let text ← m.data.toString
    messagesJson rest (out.push (Json.arr #[.str (severity m), num m.pos.line, num m.pos.column, .str text]))

/-- A node of which builds that ship no bodies have no value: the theorems of the library look like axioms there. -/
def bodiesShipped (env : Environment) : Bool :=
  match env.find? `Nat.le_trans with | some (.thmInfo _) => true | _ => false

/-! ## The loop -/

def answer (out : IO.FS.Stream) (word : String) (j : Json) : IO Unit := do
  out.putStr ("\n" ++ word ++ " " ++ j.compress ++ "\n")
  out.flush

partial def serve (handle : Json → IO Json) (word : String) (input out : IO.FS.Stream) : IO Unit := do
  let line ← input.getLine
  if line == "" then return ()
  let start ← IO.monoMsNow
  let reply ← match Json.parse line with
    | .error e => pure (Json.mkObj [("error", .str e)])
    | .ok j => do try handle j catch e => pure (Json.mkObj [("error", .str (toString e))])
  let stop ← IO.monoMsNow
  let timed := match reply with | .obj _ => reply.setObjVal! "ms" (num (stop - start)) | _ => reply
  answer out word timed
  serve handle word input out

def run (handle : Json → IO Json) : IO Unit := do
  let input ← IO.getStdin
  let out ← IO.getStdout
  let word := (← input.getLine).trim
  answer out word (Json.mkObj [("ready", .bool true)])
  serve handle word input out

end Llemma
