open Lean Elab

/-! What decides: sees the trusted statement, and declarations as data (the format of `worker.lean`), never the text
they come from. It declares them again, one by one through the kernel, on top of the library and of what the trusted
statement rests on, and has the kernel accept the root as a proof of the trusted type. -/
namespace Llemma

/-- What a verdict says of itself. `rows`: how often the kernel was asked. -/
structure Bench where
  env : IO.Ref Environment
  asked : IO.Ref Nat

/-- Declares `d`; the kernel checks it. -/
def Bench.declare (b : Bench) (d : Declaration) : IO (Option String) := do
  let env ← b.env.get
  b.asked.set ((← b.asked.get) + 1)
  match env.addDeclCore 0 d none with
  | .ok env => do b.env.set env; return none
  | .error e => return some (← (e.toMessageData {}).toString)

def Bench.must (b : Bench) (what : Name) (d : Declaration) : IO Unit := do
  match ← b.declare d with
  | none => return ()
  | some e => throw (IO.userError (what.toString ++ ": the kernel refuses it: " ++ e))

/-! ## What the trusted statement rests on -/

partial def ctorsOf (env : Environment) : List Name → List Constructor
  | [] => []
  | c :: cs => match env.find? c with
    | some info => { name := c, type := info.type } :: ctorsOf env cs
    | none => ctorsOf env cs

partial def typesOf (env : Environment) : List Name → List InductiveType
  | [] => []
  | n :: ns => match env.find? n with
    | some (.inductInfo v) => { name := n, type := v.type, ctors := ctorsOf env v.ctors } :: typesOf env ns
    | _ => typesOf env ns

structure Trusted where
  env : Environment
  base : Environment
  name : Name
  params : List Name
  type : Expr
  known : Table Name

mutual
/-- Declares `n` of `src`, and before it what it rests on, in the environment of the bench. -/
partial def Bench.copy (b : Bench) (src : Environment) (known : IO.Ref (Table Name)) (n : Name) : IO Unit := do
  if imported src n || (← known.get).has n then return ()
  match src.find? n with
  | none => throw (IO.userError ("there is no declaration " ++ n.toString))
  | some info => do
    enter known nameHash n 1
    match info with
    | .ctorInfo v => b.copy src known v.induct
    | .recInfo v => b.copyAll src known v.all
    | .inductInfo v => b.copyGroup src known v
    | .quotInfo _ => throw (IO.userError "quotients are declared")
    | _ => do
      b.copyUsed src known info.type.getUsedConstants 0
      match info.value? (allowOpaque := true) with
      | some e => b.copyUsed src known e.getUsedConstants 0
      | none => pure ()
      match info with
      | .axiomInfo v => b.must n (.axiomDecl v)
      | .thmInfo v => b.must n (.thmDecl v)
      | .opaqueInfo v => b.must n (.opaqueDecl v)
      | .defnInfo v => match v.safety with
        | .safe => b.must n (.defnDecl v)
        | _ => throw (IO.userError (n.toString ++ " is not a safe definition"))
      | _ => return ()

partial def Bench.copyAll (b : Bench) (src : Environment) (known : IO.Ref (Table Name)) : List Name → IO Unit
  | [] => return ()
  | n :: ns => do b.copy src known n; b.copyAll src known ns

partial def Bench.copyUsed (b : Bench) (src : Environment) (known : IO.Ref (Table Name)) (a : Array Name) (i : Nat) :
    IO Unit := do
  if i < a.size then
    b.copy src known a[i]!
    b.copyUsed src known a (i + 1)

partial def Bench.copyGroup (b : Bench) (src : Environment) (known : IO.Ref (Table Name)) (v : InductiveVal) :
    IO Unit := do
  b.mark known v.all
  b.copyTypes src known v.all
  b.must v.name (.inductDecl v.levelParams v.numParams (typesOf src v.all) v.isUnsafe)

partial def Bench.copyTypes (b : Bench) (src : Environment) (known : IO.Ref (Table Name)) : List Name → IO Unit
  | [] => return ()
  | n :: ns => do
    match src.find? n with
    | some (.inductInfo v) => do
      b.copyUsed src known v.type.getUsedConstants 0
      b.copyCtors src known v.ctors
    | _ => pure ()
    b.copyTypes src known ns

partial def Bench.copyCtors (b : Bench) (src : Environment) (known : IO.Ref (Table Name)) : List Name → IO Unit
  | [] => return ()
  | c :: cs => do
    match src.find? c with
    | some info => do
      enter known nameHash c 1
      b.copyUsed src known info.type.getUsedConstants 0
    | none => pure ()
    b.copyCtors src known cs

partial def Bench.mark (b : Bench) (known : IO.Ref (Table Name)) : List Name → IO Unit
  | [] => return ()
  | n :: ns => do
    if !(← known.get).has n then enter known nameHash n 1
    b.mark known ns
end

/-! ## Reading declarations -/

structure Reader where
  names : Array Name
  levels : Array Level
  exprs : Array Expr

@[noinline] def pick {α : Type} [Inhabited α] (a : Array α) (what : String) (i : Nat) : IO α :=
  if i < a.size then return a[i]! else throw (IO.userError ("no " ++ what ++ " with this number"))

def at_ (j : Json) (i : Nat) : Json := let a := items j; if i < a.size then a[i]! else .null

/-- `clash` holds names that the text gave a meaning of its own: they get another name. -/
partial def readNames (clash : Table Name) (a : Array Json) (i : Nat) (out : Array Name) : IO (Array Name) := do
  if i < a.size then
    let p ← pick out "name" (natOf (at_ a[i]! 0))
    let n := match at_ a[i]! 1 with | .str s => Name.str p s | k => Name.num p (natOf k)
    let n := if clash.has n then Name.str n "«of the text»" else n
    readNames clash a (i + 1) (out.push n)
  else return out

partial def readLevels (names : Array Name) (a : Array Json) (i : Nat) (out : Array Level) : IO (Array Level) := do
  if i < a.size then
    let row := a[i]!
    let get (k : Nat) : IO Level := do
      if natOf (at_ row k) == 0 then throw (IO.userError "no level 0") else pick out "level" (natOf (at_ row k))
    let u ← match natOf (at_ row 0) with
      | 0 => pure Level.zero
      | 1 => do let u ← get 1; pure (mkLevelSucc u)
      | 2 => do let u ← get 1; let v ← get 2; pure (mkLevelMax u v)
      | 3 => do let u ← get 1; let v ← get 2; pure (mkLevelIMax u v)
      | 4 => do let n ← pick names "name" (natOf (at_ row 1)); pure (mkLevelParam n)
      | _ => throw (IO.userError "an unknown kind of level")
    readLevels names a (i + 1) (out.push u)
  else return out

partial def levelsAt (levels : Array Level) (a : Array Json) (i : Nat) : IO (List Level) := do
  if i < a.size then
    let u ← pick levels "level" (natOf a[i]!)
    return u :: (← levelsAt levels a (i + 1))
  else return []

def binderOf (k : Nat) : BinderInfo :=
  match k with | 1 => .implicit | 2 => .strictImplicit | 3 => .instImplicit | _ => .default

def digits (s : String) : IO Nat :=
  match Json.parse s with
  | .ok (.num n) => if n.exponent == 0 then return n.mantissa.toNat else throw (IO.userError "a literal that is no number")
  | _ => throw (IO.userError "a literal that is no number")

def readExpr (names : Array Name) (levels : Array Level) (exprs : Array Expr) (row : Json) : IO Expr := do
  let name (k : Nat) : IO Name := pick names "name" (natOf (at_ row k))
  let expr (k : Nat) : IO Expr := pick exprs "expression" (natOf (at_ row k))
  match natOf (at_ row 0) with
  | 0 => return mkBVar (natOf (at_ row 1))
  | 1 => do let u ← pick levels "level" (natOf (at_ row 1)); return mkSort u
  | 2 => do let n ← name 1; let us ← levelsAt levels (items (at_ row 2)) 0; return mkConst n us
  | 3 => do let f ← expr 1; let a ← expr 2; return mkApp f a
  | 4 => do let n ← name 1; let t ← expr 3; let b ← expr 4; return mkLambda n (binderOf (natOf (at_ row 2))) t b
  | 5 => do let n ← name 1; let t ← expr 3; let b ← expr 4; return mkForall n (binderOf (natOf (at_ row 2))) t b
  | 6 => do let n ← name 1; let t ← expr 2; let v ← expr 3; let b ← expr 4; return .letE n t v b false
  | 7 => do let k ← digits (textOf (at_ row 1)); return mkRawNatLit k
  | 8 => return mkStrLit (textOf (at_ row 1))
  | 9 => do let s ← name 1; let e ← expr 3; return mkProj s (natOf (at_ row 2)) e
  | _ => throw (IO.userError "an unknown kind of expression")

partial def readExprs (names : Array Name) (levels : Array Level) (a : Array Json) (i : Nat) (out : Array Expr) :
    IO (Array Expr) := do
  if i < a.size then
    let e ← readExpr names levels out a[i]!
    readExprs names levels a (i + 1) (out.push e)
  else return out

/-- Number 0 is never an expression: the first entry is a hole that the kernel refuses. -/
def reader (clash : Table Name) (j : Json) : IO Reader := do
  let names ← readNames clash (list j "names") 0 #[.anonymous]
  let levels ← readLevels names (list j "levels") 0 #[.zero]
  let exprs ← readExprs names levels (list j "exprs") 0 #[mkBVar 1000000]
  return { names := names, levels := levels, exprs := exprs }

partial def Reader.nameList (r : Reader) (a : Array Json) (i : Nat) : IO (List Name) := do
  if i < a.size then
    let n ← pick r.names "name" (natOf a[i]!)
    return n :: (← r.nameList a (i + 1))
  else return []

partial def Reader.ctors (r : Reader) (a : Array Json) (i : Nat) : IO (List Constructor) := do
  if i < a.size then
    let n ← pick r.names "name" (natOf (at_ a[i]! 0))
    let t ← pick r.exprs "expression" (natOf (at_ a[i]! 1))
    return { name := n, type := t } :: (← r.ctors a (i + 1))
  else return []

partial def Reader.types (r : Reader) (a : Array Json) (i : Nat) : IO (List InductiveType) := do
  if i < a.size then
    let n ← pick r.names "name" (natOf (at_ a[i]! 0))
    let t ← pick r.exprs "expression" (natOf (at_ a[i]! 1))
    let cs ← r.ctors (items (at_ a[i]! 2)) 0
    return { name := n, type := t, ctors := cs } :: (← r.types a (i + 1))
  else return []

def hints (height : Nat) : ReducibilityHints :=
  match height with | 0 => .opaque | 1 => .abbrev | h => .regular (UInt32.ofNat (h - 2))

/-- One row of `decls` as a declaration, with its name. -/
def Reader.decl (r : Reader) (row : Json) : IO (Name × Declaration) := do
  let name ← pick r.names "name" (natOf (at_ row 1))
  let params ← r.nameList (items (at_ row 2)) 0
  match at_ row 6 with
  | .bool false => pure ()
  | _ => throw (IO.userError (name.toString ++ " is not a safe declaration"))
  match textOf (at_ row 0) with
  | "inductive" => do
    let types ← r.types (items (at_ row 4)) 0
    return (name, .inductDecl params (natOf (at_ row 3)) types false)
  | kind => do
    let type ← pick r.exprs "expression" (natOf (at_ row 3))
    let value ← pick r.exprs "expression" (natOf (at_ row 4))
    let v : ConstantVal := { name := name, levelParams := params, type := type }
    match kind with
    | "axiom" => return (name, .axiomDecl { toConstantVal := v, isUnsafe := false })
    | "theorem" => return (name, .thmDecl { toConstantVal := v, value := value, all := [name] })
    | "opaque" => return (name, .opaqueDecl { toConstantVal := v, value := value, isUnsafe := false, all := [name] })
    | "def" => return (name, .defnDecl {
        toConstantVal := v, value := value, hints := hints (natOf (at_ row 5)), safety := .safe, all := [name] })
    | _ => throw (IO.userError "an unknown kind of declaration")

/-! ## Comparing with the trusted side -/

partial def sameNames : List Name → List Name → Bool
  | [], [] => true
  | a :: as, b :: bs => a == b && sameNames as bs
  | _, _ => false

partial def sameCtors : List Constructor → List Constructor → Bool
  | [], [] => true
  | a :: as, b :: bs => a.name == b.name && a.type == b.type && sameCtors as bs
  | _, _ => false

partial def sameTypes : List InductiveType → List InductiveType → Bool
  | [], [] => true
  | a :: as, b :: bs => a.name == b.name && a.type == b.type && sameCtors a.ctors b.ctors && sameTypes as bs
  | _, _ => false

def sameHead (a : ConstantInfo) (b : ConstantVal) : Bool :=
  sameNames a.levelParams b.levelParams && a.type == b.type

/-- Whether the trusted environment declares exactly this (theorems: the same type). -/
def sameAs (env : Environment) (n : Name) (d : Declaration) : Bool :=
  match env.find? n, d with
  | some info, .axiomDecl v => match info with | .axiomInfo _ => sameHead info v.toConstantVal | _ => false
  | some info, .thmDecl v => match info with | .thmInfo _ => sameHead info v.toConstantVal | _ => false
  | some info, .opaqueDecl v => match info with
    | .opaqueInfo w => sameHead info v.toConstantVal && w.value == v.value | _ => false
  | some info, .defnDecl v => match info with
    | .defnInfo w => sameHead info v.toConstantVal && w.value == v.value | _ => false
  | some info, .inductDecl params n types _ => match info with
    | .inductInfo w => sameNames w.levelParams params && w.numParams == n && sameTypes (typesOf env w.all) types
    | _ => false
  | _, _ => false

/-- What of the text bears a name the statement rests on, but another meaning. -/
partial def clashes (t : Trusted) (r : Reader) (rows : Array Json) (i : Nat) (out : List Name) : IO (List Name) := do
  if i < rows.size then
    let (n, d) ← r.decl rows[i]!
    let differs := t.known.has n && !(sameAs t.env n d)
    clashes t r rows (i + 1) (if differs then n :: out else out)
  else return out

partial def tableOfList : List Name → Table Name → Table Name
  | [], t => t
  | n :: ns, t => tableOfList ns (t.put n 1)

def hasProjection (e : Expr) : Bool := match e.find? Expr.isProj with | some _ => true | none => false

partial def projectionIn : List InductiveType → Bool
  | [] => false
  | t :: ts => hasProjection t.type || inCtors t.ctors || projectionIn ts
where
  inCtors : List Constructor → Bool
    | [] => false
    | c :: cs => hasProjection c.type || inCtors cs

/-- Kernels before 4.32.2 do not check projections in types of nested inductive families (lean4#14576). The elaborator
writes none there, so a family that has one is not asked about. -/
def unchecked (d : Declaration) : Bool :=
  match d with | .inductDecl _ _ types _ => projectionIn types | _ => false

/-- Declares the rows the trusted side has not declared already; the root must be a theorem or a definition. -/
partial def Bench.rows (b : Bench) (t : Trusted) (r : Reader) (root : Name) (rows : Array Json) (i : Nat) : IO Unit := do
  if i < rows.size then
    let (n, d) ← r.decl rows[i]!
    if n == root then
      match d with
      | .thmDecl _ => pure ()
      | .defnDecl _ => pure ()
      | _ => throw (IO.userError (n.toString ++ " is neither a theorem nor a definition"))
    if !(t.known.has n) then
      if unchecked d then throw (IO.userError (n.toString ++ ": an inductive type with a projection in it"))
      b.must n d
    b.rows t r root rows (i + 1)

/-! ## Axioms -/

def axiomsOf (env : Environment) (n : Name) : Array Name := (((CollectAxioms.collect n).run env).run {}).2.axioms

/-- `[name, whether it is of the library, whether the trusted side declares it with this type]` -/
partial def axiomRows (t : Trusted) (env : Environment) (a : Array Name) (i : Nat) (out : Array Json) : Array Json :=
  if i < a.size then
    let n := a[i]!
    let ours := match t.env.find? n, env.find? n with
      | some (.axiomInfo v), some (.axiomInfo w) => sameHead (.axiomInfo v) w.toConstantVal
      | _, _ => false
    let row := Json.arr #[.str n.toString, .bool (imported env n), .bool ours]
    axiomRows t env a (i + 1) (out.push row)
  else out

/-! ## Requests -/

structure Court where
  commands : IO.Ref (Array (Option Command.State))
  trusted : IO.Ref (Array (Option Trusted))

def Court.command (s : Court) (i : Nat) : IO Command.State := do
  match ← pick (← s.commands.get) "state" i with
  | some c => return c
  | none => throw (IO.userError "a state that was dropped")

def doImport (s : Court) (j : Json) : IO Json := do
  let env ← importEnv (importsOf (list j "modules") 0 #[])
  let env := env.setMainModule `Main
  let n ← append s.commands (some (Command.mkState env {} {}))
  return Json.mkObj [("id", num (n - 1)), ("bodies", .bool (bodiesShipped env))]

def doText (s : Court) (j : Json) : IO Json := do
  let before ← s.command (nat j "from")
  let after ← elaborate before (str j "text")
  let messages ← messagesJson after.messages.toList #[]
  let id ← if flag j "keep" then do
      let n ← append s.commands (some { after with messages := {} })
      pure (num (n - 1))
    else pure Json.null
  return Json.mkObj [("id", id), ("messages", .arr messages)]

/-- The trusted statement, closed by `sorry`, in the environment after its prelude. -/
def doTrust (s : Court) (j : Json) : IO Json := do
  let base ← s.command (nat j "base")
  let before ← s.command (nat j "from")
  let after ← elaborate before (str j "text")
  let messages ← messagesJson after.messages.toList #[]
  let name := (str j "name").toName
  match after.env.find? name with
  | none => return Json.mkObj [("messages", .arr messages), ("missing", .bool true)]
  | some info => do
    let b : Bench := { env := ← IO.mkRef base.env, asked := ← IO.mkRef 0 }
    let known ← IO.mkRef (Table.empty Name)
    b.copyUsed after.env known info.type.getUsedConstants 0
    let t : Trusted := {
      env := after.env, base := ← b.env.get, name := name, params := info.levelParams, type := info.type,
      known := ← known.get }
    let n ← append s.trusted (some t)
    return Json.mkObj [("messages", .arr messages), ("id", num (n - 1)), ("sorry", .bool info.type.hasSorry)]

def verdict (t : Trusted) (j : Json) : IO Json := do
  let rows := list j "decls"
  let plain ← reader (Table.empty Name) j
  let clash ← clashes t plain rows 0 []
  let r ← match clash with | [] => pure plain | _ => reader (tableOfList clash (Table.empty Name)) j
  let root ← pick r.names "name" (nat j "root")
  if root != t.name then throw (IO.userError (root.toString ++ " is not the name of the statement"))
  let b : Bench := { env := ← IO.mkRef t.base, asked := ← IO.mkRef 0 }
  b.rows t r root rows 0
  let env ← b.env.get
  match env.find? root with
  | none => throw (IO.userError (root.toString ++ " is not among the declarations"))
  | some info => do
    let params := t.params
    let own := info.levelParams
    let us := levelsOf params
    let same := sameLength own params && info.type.instantiateLevelParams own us == t.type
    let pin := Name.str (Name.str .anonymous "llemma") "pinned"
    let value := mkConst root us
    let v : ConstantVal := { name := pin, levelParams := params, type := t.type }
    let refused ← b.declare (.thmDecl { toConstantVal := v, value := value, all := [pin] })
    let final ← b.env.get
    let axs := match refused with | none => axiomsOf final pin | some _ => axiomsOf env root
    return Json.mkObj [
      ("identical", .bool same), ("pinned", match refused with | none => .str "" | some e => .str e),
      ("clashes", .arr (nameTexts clash #[])), ("axioms", .arr (axiomRows t final axs 0 #[])),
      ("asked", num (← b.asked.get)), ("bodies", .bool (bodiesShipped final))]
where
  levelsOf : List Name → List Level
    | [] => []
    | n :: ns => mkLevelParam n :: levelsOf ns
  sameLength : List Name → List Name → Bool
    | [], [] => true
    | _ :: as, _ :: bs => sameLength as bs
    | _, _ => false
  nameTexts : List Name → Array Json → Array Json
    | [], out => out
    | n :: ns, out => nameTexts ns (out.push (.str n.toString))

def doJudge (s : Court) (j : Json) : IO Json := do
  match ← pick (← s.trusted.get) "statement" (nat j "trusted") with
  | none => throw (IO.userError "a statement that was dropped")
  | some t => do
    try
      verdict t (field j "export")
    catch e => return Json.mkObj [("refused", .str (toString e))]

def handle (s : Court) (j : Json) : IO Json :=
  match str j "op" with
  | "import" => doImport s j
  | "text" => doText s j
  | "trust" => doTrust s j
  | "judge" => doJudge s j
  | op => throw (IO.userError ("unknown request " ++ op))

end Llemma

/-@public@-/ def main : IO Unit := do
  let s : Llemma.Court := { commands := ← IO.mkRef #[], trusted := ← IO.mkRef #[] }
  Llemma.run (Llemma.handle s)
