"""What may be removed from a registered form to find its parent: three short lists.

The lists are SMILES of the neutral form; stereochemistry is ignored when they are compared.
Anything inorganic that is not here keeps the structure whole: lithium, zinc, silver, bismuth,
strontium, arsenic and platinum are the drug, not its counter-ion.
"""

FREE_METALS = frozenset({"Na", "K", "Mg", "Ca"})
"""Metals that are counter-ions when they stand alone beside an organic parent."""

SIMPLE_IONS = (
    "Cl",
    "Br",
    "I",
    "F",
    "[H+]",
    "O",  # water, hydroxide
    "N",  # ammonia, ammonium
    "OS(=O)(=O)O",
    "OP(=O)(O)O",
    "O[N+](=O)[O-]",
    "OCl(=O)(=O)=O",
    "F[B-](F)(F)F",
    "F[P-](F)(F)(F)(F)F",
)
"""Inorganic acids, bases and water of common salts."""

INORGANIC_CARBON = ("OC(=O)O", "O=C=O", "[C-]#[O+]", "C#N", "N#CO", "N#CS", "S=C=S", "[C]")
"""Contain carbon and yet are no organic parent: lithium carbonate stays whole."""

ORGANIC_FORMERS = (
    # sulfonic acids
    "CS(=O)(=O)O",
    "CCS(=O)(=O)O",
    "OCCS(=O)(=O)O",
    "OS(=O)(=O)CCS(=O)(=O)O",
    "OS(=O)(=O)c1ccccc1",
    "Cc1ccc(cc1)S(=O)(=O)O",
    "OS(=O)(=O)c1ccc2ccccc2c1",
    "OS(=O)(=O)c1cccc2c1cccc2S(=O)(=O)O",
    "CC1(C)C2CCC1(CS(=O)(=O)O)C(=O)C2",
    "OS(=O)(=O)C(F)(F)F",
    # carboxylic acids
    "OC=O",
    "CC(=O)O",
    "CCC(=O)O",
    "OC(=O)C(F)(F)F",
    "OC(=O)C(=O)O",
    "OC(=O)CC(=O)O",
    "OC(=O)CCC(=O)O",
    "OC(=O)C=CC(=O)O",
    "OC(=O)CCCCC(=O)O",
    "OC(=O)CO",
    "CC(O)C(=O)O",
    "OC(=O)CC(O)C(=O)O",
    "OC(=O)C(O)C(O)C(=O)O",
    "OC(=O)CC(O)(CC(=O)O)C(=O)O",
    "OCC(O)C(O)C(O)C(O)C(=O)O",
    "OCC(O)C(O)C(OC1OC(CO)C(O)C(O)C1O)C(O)C(=O)O",
    "OC(=O)c1ccccc1",
    "OC(=O)c1ccc2ccccc2c1O",
    "OC(=O)c1cc2ccccc2c(Cc2c(O)c(C(=O)O)cc3ccccc23)c1O",
    "CCCCCCCCCCCC(=O)O",
    "CCCCCCCCCCCCCCCC(=O)O",
    "CCCCCCCCCCCCCCCCCC(=O)O",
    # bases
    "OCC(N)(CO)CO",
    "CNCC(O)C(O)C(O)C(O)CO",
    "NCCO",
    "OCCNCCO",
    "OCCN(CCO)CCO",
    "CCNCC",
    "CCN(CC)CC",
    "C[N+](C)(C)CCO",
    "CC(C)(C)N",
    "NCCCCC(N)C(=O)O",
    "NC(=N)NCCCC(N)C(=O)O",
    # solvents
    "CO",
    "CCO",
    "CC(C)O",
    "CC(O)CO",
    "CC(C)=O",
    "CC#N",
    "CS(C)=O",
    "CN(C)C=O",
    "CCOC(C)=O",
    "C1CCOC1",
)
"""Organic acids, bases and solvents of common salts and solvates. Some are larger than the drug
they accompany (pamoic acid, citric acid), so "the largest fragment" alone would be wrong."""
