"""stub"""
NAMES = ()
def run(code, limits, **k): raise NotImplementedError
