"""The class names of the catalog's data sets, in the order of their numbers."""

from __future__ import annotations

# fmt: off
AG_NEWS = ("World", "Sports", "Business", "Sci/Tech")
R8 = ("acq", "crude", "earn", "grain", "interest", "money-fx", "ship", "trade")
R52 = (
    "acq", "alum", "bop", "carcass", "cocoa", "coffee", "copper", "cotton", "cpi", "cpu", "crude", "dlr", "earn",
    "fuel", "gas", "gnp", "gold", "grain", "heat", "housing", "income", "instal-debt", "interest", "ipi", "iron-steel",
    "jet", "jobs", "lead", "lei", "livestock", "lumber", "meal-feed", "money-fx", "money-supply", "nat-gas", "nickel",
    "orange", "pet-chem", "platinum", "potato", "reserves", "retail", "rubber", "ship", "strategic-metal", "sugar",
    "tea", "tin", "trade", "veg-oil", "wpi", "zinc",
)
NEWSGROUPS = (
    "alt.atheism", "comp.graphics", "comp.os.ms-windows.misc", "comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware",
    "comp.windows.x", "misc.forsale", "rec.autos", "rec.motorcycles", "rec.sport.baseball", "rec.sport.hockey",
    "sci.crypt", "sci.electronics", "sci.med", "sci.space", "soc.religion.christian", "talk.politics.guns",
    "talk.politics.mideast", "talk.politics.misc", "talk.religion.misc",
)
SMS = ("ham", "spam")
# fmt: on
