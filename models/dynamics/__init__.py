"""Time courses: hierarchical differential equations learned by amortised variational inference.

``series`` holds the data, ``systems`` the equations, ``parameters`` the hierarchy of population,
group and individual, ``inference`` the fit and ``posterior`` what was learned. The method is that
of Roeder et al. 2019 (VI-HDS, arXiv 1905.12090), rebuilt: see each module for what differs.
"""
