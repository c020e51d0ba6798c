"""How programs are compiled in tests: without the slowest passes of the compiler, which are most of
the time that the tests take. The programs are a little slower and compute the same."""

import importlib.metadata

QUICK_TO_COMPILE = "--xla_llvm_disable_expensive_passes=true"
# XLA stops at a flag it does not know: later versions have no such flag.
if importlib.metadata.version("jax").startswith("0.10."):
    QUICK_TO_COMPILE += " --xla_cpu_use_fusion_emitters=false"
