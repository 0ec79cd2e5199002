open Lean Elab

/-! What runs the model's text: elaborates commands, applies tactics to saved states, writes out declarations.
Nothing it says decides a verdict: `judge.lean` checks the declarations in a process that never saw the text. -/
namespace Llemma

/-! ## Declarations as data

`names`: `[prefix, "text" or number]`, number 0 is the anonymous name. `levels`: `[0]` zero, `[1,u]` successor,
`[2,u,v]` max, `[3,u,v]` imax, `[4,name]` parameter. `exprs`: `[0,i]` bound variable, `[1,level]` sort,
`[2,name,levels]` constant, `[3,f,a]` application, `[4,name,binder,type,body]` lambda, `[5,..]` the same for arrows,
`[6,name,type,value,body]` let, `[7,"digits"]`, `[8,"text"]` literals, `[9,structure,index,e]` projection.
Numbers of names, levels and expressions start at 1. -/

structure Writer where
  nameIds : IO.Ref (Table Name)
  names : IO.Ref (Array Json)
  levels : IO.Ref (Array Json)
  exprIds : IO.Ref (Table Expr)
  exprs : IO.Ref (Array Json)
  done : IO.Ref (Table Name)
  decls : IO.Ref (Array Json)

partial def Writer.name (w : Writer) (n : Name) : IO Nat := do
  match n with
  | .anonymous => return 0
  | .str p s => do
    let known := (← w.nameIds.get).find nameEq (nameHash n) n
    if known != 0 then return known
    let above ← w.name p
    fresh w n (Json.arr #[num above, .str s])
  | .num p k => do
    let known := (← w.nameIds.get).find nameEq (nameHash n) n
    if known != 0 then return known
    let above ← w.name p
    fresh w n (Json.arr #[num above, num k])
where
  fresh (w : Writer) (n : Name) (j : Json) : IO Nat := do
    let id ← append w.names j
    enter w.nameIds nameHash n id
    return id

partial def Writer.level (w : Writer) (u : Level) : IO Nat := do
  match u with
  | .zero => push w #[num 0]
  | .succ v => do let v ← w.level v; push w #[num 1, num v]
  | .max a b => do let a ← w.level a; let b ← w.level b; push w #[num 2, num a, num b]
  | .imax a b => do let a ← w.level a; let b ← w.level b; push w #[num 3, num a, num b]
  | .param n => do let n ← w.name n; push w #[num 4, num n]
  | .mvar _ => throw (IO.userError "a universe level is not determined")
where
  push (w : Writer) (row : Array Json) : IO Nat := append w.levels (.arr row)

partial def Writer.levelList (w : Writer) : List Level → Array Json → IO (Array Json)
  | [], out => return out
  | u :: us, out => do let u ← w.level u; w.levelList us (out.push (num u))

def binder (b : BinderInfo) : Nat :=
  match b with | .default => 0 | .implicit => 1 | .strictImplicit => 2 | .instImplicit => 3

partial def Writer.expr (w : Writer) (e : Expr) : IO Nat := do
  match e with
  | .mdata _ inner => w.expr inner
  | _ => do
    let known := (← w.exprIds.get).find exprEq (exprHash e) e
    if known != 0 then return known
    let row ← row w e
    let id ← append w.exprs (.arr row)
    enter w.exprIds exprHash e id
    return id
where
  row (w : Writer) (e : Expr) : IO (Array Json) := do
    match e with
    | .bvar i => return #[num 0, num i]
    | .sort u => do let u ← w.level u; return #[num 1, num u]
    | .const n us => do let n ← w.name n; let us ← w.levelList us #[]; return #[num 2, num n, .arr us]
    | .app f a => do let f ← w.expr f; let a ← w.expr a; return #[num 3, num f, num a]
    | .lam n t b i => do
      let n ← w.name n; let t ← w.expr t; let b ← w.expr b; return #[num 4, num n, num (binder i), num t, num b]
    | .forallE n t b i => do
      let n ← w.name n; let t ← w.expr t; let b ← w.expr b; return #[num 5, num n, num (binder i), num t, num b]
    | .letE n t v b _ => do
      let n ← w.name n; let t ← w.expr t; let v ← w.expr v; let b ← w.expr b
      return #[num 6, num n, num t, num v, num b]
    | .lit (.natVal k) => return #[num 7, .str (toString k)]
    | .lit (.strVal s) => return #[num 8, .str s]
    | .proj s i x => do let s ← w.name s; let x ← w.expr x; return #[num 9, num s, num i, num x]
    | _ => throw (IO.userError "a term is not closed")

partial def Writer.nameList (w : Writer) : List Name → Array Json → IO (Array Json)
  | [], out => return out
  | n :: ns, out => do let n ← w.name n; w.nameList ns (out.push (num n))

def Writer.emit (w : Writer) (row : Array Json) : IO Unit := do
  let _ ← append w.decls (.arr row)

mutual
/-- Writes what `n` rests on and then `n`, unless it comes from an import. -/
partial def Writer.decl (w : Writer) (env : Environment) (n : Name) : IO Unit := do
  if imported env n || (← w.done.get).has n then return ()
  match env.find? n with
  | none => throw (IO.userError ("there is no declaration " ++ n.toString))
  | some info => do
    enter w.done nameHash n 1
    match info with
    | .axiomInfo v => w.plain env "axiom" v.toConstantVal none 0 v.isUnsafe
    | .thmInfo v => w.plain env "theorem" v.toConstantVal (some v.value) 0 false
    | .opaqueInfo v => w.plain env "opaque" v.toConstantVal (some v.value) 0 v.isUnsafe
    | .defnInfo v =>
      let height := match v.hints with | .opaque => 0 | .abbrev => 1 | .regular h => h.toNat + 2
      let unsound := match v.safety with | .safe => false | _ => true
      w.plain env "def" v.toConstantVal (some v.value) height unsound
    | .quotInfo _ => throw (IO.userError "the text declares quotients")
    | .ctorInfo v => w.decl env v.induct
    | .recInfo v => w.declAll env v.all
    | .inductInfo v => w.group env v

partial def Writer.declAll (w : Writer) (env : Environment) : List Name → IO Unit
  | [] => return ()
  | n :: ns => do w.decl env n; w.declAll env ns

partial def Writer.used (w : Writer) (env : Environment) (a : Array Name) (i : Nat) : IO Unit := do
  if i < a.size then
    w.decl env a[i]!
    w.used env a (i + 1)

partial def Writer.plain (w : Writer) (env : Environment) (kind : String) (v : ConstantVal) (value : Option Expr)
    (height : Nat) (unsound : Bool) : IO Unit := do
  w.used env v.type.getUsedConstants 0
  match value with | some e => w.used env e.getUsedConstants 0 | none => pure ()
  let n ← w.name v.name
  let params ← w.nameList v.levelParams #[]
  let type ← w.expr v.type
  let value ← match value with | some e => do let e ← w.expr e; pure (num e) | none => pure (num 0)
  w.emit #[.str kind, num n, .arr params, num type, value, num height, .bool unsound]

/-- A family of inductive types that are declared together. -/
partial def Writer.group (w : Writer) (env : Environment) (v : InductiveVal) : IO Unit := do
  mark w v.all
  let rows ← w.types env v.all #[]
  let n ← w.name v.name
  let params ← w.nameList v.levelParams #[]
  w.emit #[.str "inductive", num n, .arr params, num v.numParams, .arr rows, num 0, .bool v.isUnsafe]
where
  mark (w : Writer) : List Name → IO Unit
    | [] => return ()
    | n :: ns => do
      if !(← w.done.get).has n then enter w.done nameHash n 1
      mark w ns

partial def Writer.types (w : Writer) (env : Environment) : List Name → Array Json → IO (Array Json)
  | [], out => return out
  | n :: ns, out => do
    match env.find? n with
    | some (.inductInfo v) => do
      w.used env v.type.getUsedConstants 0
      let ctors ← w.ctors env v.ctors #[]
      let n ← w.name v.name
      let type ← w.expr v.type
      w.types env ns (out.push (.arr #[num n, num type, .arr ctors]))
    | _ => throw (IO.userError (n.toString ++ " is not an inductive type"))

partial def Writer.ctors (w : Writer) (env : Environment) : List Name → Array Json → IO (Array Json)
  | [], out => return out
  | c :: cs, out => do
    match env.find? c with
    | some info => do
      w.used env info.type.getUsedConstants 0
      let c ← w.name c
      let type ← w.expr info.type
      w.ctors env cs (out.push (.arr #[num c, num type]))
    | none => throw (IO.userError ("there is no constructor " ++ c.toString))
end

/-- The declaration `n` and all of the text that it rests on, in an order in which they can be declared. -/
def exported (env : Environment) (n : Name) : IO Json := do
  let w : Writer := {
    nameIds := ← IO.mkRef (Table.empty Name), names := ← IO.mkRef #[], levels := ← IO.mkRef #[],
    exprIds := ← IO.mkRef (Table.empty Expr), exprs := ← IO.mkRef #[],
    done := ← IO.mkRef (Table.empty Name), decls := ← IO.mkRef #[] }
  w.decl env n
  let root ← w.name n
  return Json.mkObj [("root", num root), ("names", .arr (← w.names.get)), ("levels", .arr (← w.levels.get)),
    ("exprs", .arr (← w.exprs.get)), ("decls", .arr (← w.decls.get))]

/-! ## Tactics -/

/-- All that a tactic reads and changes. -/
structure Point where
  core : Core.State
  mctx : MetavarContext
  term : Term.State
  goals : List MVarId
  root : MVarId
  name : Name
  options : Options
  openDecls : List OpenDecl
  currNamespace : Name

partial def leaves (node : PersistentArrayNode InfoTree) : List InfoTree :=
  match node with
  | .node cs => below cs 0
  | .leaf ts => flat ts 0
where
  below (cs : Array (PersistentArrayNode InfoTree)) (i : Nat) : List InfoTree :=
    if i < cs.size then joined (leaves cs[i]!) (below cs (i + 1)) else []
  flat (ts : Array InfoTree) (i : Nat) : List InfoTree := if i < ts.size then ts[i]! :: flat ts (i + 1) else []

partial def tailOf (ts : Array InfoTree) (i : Nat) : List InfoTree :=
  if i < ts.size then ts[i]! :: tailOf ts (i + 1) else []

partial def goalsIn (map : FileMap) (offset : Nat) : List InfoTree → Option GoalsAtResult
  | [] => none
  | t :: ts => match t.goalsAt? map ⟨offset⟩ with | r :: _ => some r | [] => goalsIn map offset ts

partial def goalTexts (ctx : PPContext) : List MVarId → Array Json → IO (Array Json)
  | [], out => return out
  | g :: gs, out => do
    let f ← ppGoal ctx g
    goalTexts ctx gs (out.push (.str f.pretty))

def Point.show (p : Point) : IO Json := do
  let ctx : PPContext := { env := p.core.env, mctx := p.mctx, lctx := {}, opts := p.options,
                           currNamespace := p.currNamespace, openDecls := p.openDecls }
  return .arr (← goalTexts ctx p.goals #[])

def paramsOf (env : Environment) (n : Name) : List Name :=
  match env.find? n with | some c => c.levelParams | none => []

/-- The state of the proof at the end of `text`, which ends in a tactic that does nothing. -/
def openGoal (state : Command.State) (text : String) (name : Name) : IO (Array Json × Option Point) := do
  let on := { state with infoState := { state.infoState with enabled := true } }
  let done ← elaborate on text
  let trees := done.infoState.trees
  let messages ← messagesJson done.messages.toList #[]
  match goalsIn (FileMap.ofString text) (text.utf8ByteSize - 4) (joined (leaves trees.root) (tailOf trees.tail 0)) with
  | none => return (messages, none)
  | some r =>
    match r.tacticInfo.goalsBefore with
    | [] => return (messages, none)
    | g :: gs =>
      let info := r.ctxInfo
      return (messages, some {
        core := { env := info.env, ngen := info.ngen }, mctx := r.tacticInfo.mctxBefore,
        term := { levelNames := paramsOf done.env name }, goals := g :: gs, root := g, name := name, options := info.options,
        openDecls := info.openDecls, currNamespace := info.currNamespace })

def optionNat (o : Options) (n : Name) (default : Nat) : Nat :=
  by first
    | exact o.get n default
    | exact o.getNat n default

partial def firstError : List Message → IO (Option String)
  | [] => return none
  | m :: rest => match m.severity with
    | .error => do return some (← m.data.toString)
    | _ => firstError rest

/-- A proof without goals must have no hole left. -/
def Point.finished (p : Point) : Except String Point :=
  let (proof, _) := instantiateMVarsCore p.mctx (.mvar p.root)
  if proof.hasExprMVar then .error "no goals are left, but a part of the proof is not determined"
  else if proof.hasSorry then .error "the proof rests on sorry"
  else .ok p

/-- The state after one tactic (or block of tactics), or why it does not apply. -/
def Point.apply (p : Point) (stx : Syntax) (text : String) : IO (Except String Point) := do
  let beats ← IO.getNumHeartbeats
  let cc : Core.Context := {
    fileName := "<tactic>", fileMap := FileMap.ofString text, options := p.options,
    currNamespace := p.currNamespace, openDecls := p.openDecls, initHeartbeats := beats,
    maxHeartbeats := optionNat p.options `maxHeartbeats 200000 * 1000,
    maxRecDepth := optionNat p.options `maxRecDepth 512 }
  let core ← ST.mkRef { p.core with messages := {} }
  let metas ← ST.mkRef ({ mctx := p.mctx } : Meta.State)
  let term ← ST.mkRef p.term
  let goals ← ST.mkRef ({ goals := p.goals } : Tactic.State)
  let tc : Term.Context := { declName? := some p.name }
  let mc : Meta.Context := {}
  let outcome ← (do
    Tactic.evalTactic stx { elaborator := .anonymous, recover := false } goals tc term mc metas cc core
    Term.synthesizeSyntheticMVarsNoPostponing false tc term mc metas cc core : EIO Exception Unit).toBaseIO
  match outcome with
  | .error e => do  -- blocks inside a tactic report first and throw something without text afterwards
    match ← firstError (← core.get).messages.toList with
    | some text => return .error text
    | none => return .error (← e.toMessageData.toString)
  | .ok () => do
    let after ← core.get
    match ← firstError after.messages.toList with
    | some text => return .error text
    | none => do
      let m ← metas.get
      let open_ := pruned m.mctx (← goals.get).goals
      let next := { p with core := after, mctx := m.mctx, term := ← term.get, goals := open_ }
      match open_ with
      | [] => return next.finished
      | _ => return .ok next
where
  pruned (mctx : MetavarContext) : List MVarId → List MVarId
    | [] => []
    | g :: gs => match mctx.getExprAssignmentCore? g, mctx.getDelayedMVarAssignmentCore? g with
      | none, none => g :: pruned mctx gs
      | _, _ => pruned mctx gs

/-! ## The gate: text must be one block of tactics and hold none of the forbidden kinds of syntax -/

mutual
partial def kindIn (banned : Table Name) (stx : Syntax) : Option Name :=
  match stx with
  | .node _ k args => if banned.has k then some k else kindInAll banned args 0
  | _ => none

partial def kindInAll (banned : Table Name) (args : Array Syntax) (i : Nat) : Option Name :=
  if i < args.size then
    match kindIn banned args[i]! with
    | some k => some k
    | none => kindInAll banned args (i + 1)
  else none
end

/-- The block in parentheses as it parses from beginning to end, or what is wrong with it. -/
def gate (env : Environment) (banned : Table Name) (text : String) : Except Json Syntax :=
  match Parser.runParserCategory env `tactic ("(\n" ++ text ++ "\n)") "<tactic>" with
  | .error e => .error (Json.mkObj [("syntax", .str e)])
  | .ok stx =>
    if !(stx.getKind == `Lean.Parser.Tactic.paren) then
      .error (Json.mkObj [("forbidden", .str "the text closes a parenthesis that it did not open")])
    else match kindIn banned stx with
      | some k => .error (Json.mkObj [("forbidden", .str k.toString)])
      | none => .ok stx

/-! ## Requests -/

structure Session where
  commands : IO.Ref (Array (Option Command.State))
  points : IO.Ref (Array (Option Point))
  banned : IO.Ref (Table Name)

def Session.command (s : Session) (i : Nat) : IO Command.State := do
  let a ← s.commands.get
  if i < a.size then
    match a[i]! with | some c => return c | none => throw (IO.userError "a state that was dropped")
  else throw (IO.userError "no such state")

def Session.point (s : Session) (i : Nat) : IO Point := do
  let a ← s.points.get
  if i < a.size then
    match a[i]! with | some p => return p | none => throw (IO.userError "a state that was dropped")
  else throw (IO.userError "no such state")

def Session.keepCommand (s : Session) (c : Command.State) : IO Json := do
  return num ((← append s.commands (some c)) - 1)

def Session.keepPoint (s : Session) (p : Point) : IO Json := do
  return num ((← append s.points (some p)) - 1)

def ids (a : Array Json) (i : Nat) : Nat := natOf a[i]!

partial def forget {α : Type} (a : Array Json) (i : Nat) (all : Array (Option α)) : Array (Option α) :=
  if i < a.size then forget a (i + 1) (if ids a i < all.size then all.set! (ids a i) none else all) else all

partial def tableOf (a : Array Json) (i : Nat) (t : Table Name) : Table Name :=
  if i < a.size then
    let n := (textOf a[i]!).toName
    tableOf a (i + 1) (if t.has n then t else t.put n 1)
  else t

def doImport (s : Session) (j : Json) : IO Json := do
  let env ← importEnv (importsOf (list j "modules") 0 #[])
  let env := env.setMainModule `Main
  let id ← s.keepCommand (Command.mkState env {} {})
  return Json.mkObj [("id", id), ("bodies", .bool (bodiesShipped env))]

def doText (s : Session) (j : Json) : IO Json := do
  let before ← s.command (nat j "from")
  let after ← elaborate before (str j "text")
  let messages ← messagesJson after.messages.toList #[]
  let id ← if flag j "keep" then s.keepCommand { after with messages := {} } else pure .null
  let wanted := str j "export"
  let out ← if wanted == "" then pure Json.null else
    if after.env.contains wanted.toName then exported after.env wanted.toName else pure Json.null
  return Json.mkObj [("id", id), ("messages", .arr messages), ("export", out)]

def shown (s : Session) (p : Point) : IO Json := do
  let goals ← p.show
  let id ← s.keepPoint p
  return Json.mkObj [("id", id), ("goals", goals)]

def doGoal (s : Session) (j : Json) : IO Json := do
  let before ← s.command (nat j "from")
  let (messages, point) ← openGoal before (str j "text") (str j "name").toName
  match point with
  | none => return Json.mkObj [("messages", .arr messages)]
  | some p => return (← shown s p).setObjVal! "messages" (.arr messages)

def doTactic (s : Session) (j : Json) : IO Json := do
  let p ← s.point (nat j "from")
  match gate p.core.env (← s.banned.get) (str j "text") with
  | .error e => return e
  | .ok stx => do
    match ← p.apply stx (str j "text") with
    | .error e => return Json.mkObj [("failed", .str e)]
    | .ok next => shown s next

def doGate (s : Session) (j : Json) : IO Json := do
  let c ← s.command (nat j "from")
  match gate c.env (← s.banned.get) (str j "text") with
  | .error e => return e
  | .ok _ => return Json.mkObj [("ok", .bool true)]

def doDrop (s : Session) (j : Json) : IO Json := do
  let a ← s.commands.swap #[]
  s.commands.set (forget (list j "commands") 0 a)
  let b ← s.points.swap #[]
  s.points.set (forget (list j "points") 0 b)
  return Json.mkObj [("ok", .bool true)]

def doBan (s : Session) (j : Json) : IO Json := do
  s.banned.set (tableOf (list j "kinds") 0 (Table.empty Name))
  return Json.mkObj [("ok", .bool true)]

def handle (s : Session) (j : Json) : IO Json :=
  match str j "op" with
  | "import" => doImport s j
  | "text" => doText s j
  | "goal" => doGoal s j
  | "tactic" => doTactic s j
  | "gate" => doGate s j
  | "drop" => doDrop s j
  | "ban" => doBan s j
  | op => throw (IO.userError ("unknown request " ++ op))

end Llemma

/-@public@-/ def main : IO Unit := do
  let s : Llemma.Session := {
    commands := ← IO.mkRef #[], points := ← IO.mkRef #[], banned := ← IO.mkRef (Llemma.Table.empty Lean.Name) }
  Llemma.run (Llemma.handle s)
