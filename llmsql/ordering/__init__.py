"""The order of work: what an engine reads first, so that it reads little twice.

Owns the order of the inputs of a set (`work`), and the order of the fields in prompts that are made
of fields (`fields`, over the statistics of `cells`). Knows no engine and no store; an order changes
what is read twice, never what is asked.
"""
