"""SQL functions: `primitives` call models, `tables` say what happened, `library` has the macros."""
