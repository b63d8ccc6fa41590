"""Slow, obvious forms of every equation, written from the formulae and not from the package.

Plain loops over reports, sentences, patches and words, in float64. Where gradients are compared,
the numbers in the loops are torch scalars and autograd follows them.
"""
