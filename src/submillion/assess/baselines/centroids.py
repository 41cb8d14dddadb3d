"""A nearest-centroid classifier of sparse features, whose cost does not grow with the number of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.preprocessing import normalize


class Centroids:
    """Answers the class whose mean of training rows has the greatest cosine with a row.

    E.-H. Han and G. Karypis, "Centroid-Based Document Classification: Analysis and Experimental Results", PKDD 2000.
    scikit-learn's NearestCentroid makes dense centroids: 1.6 GB of 1,000 classes and 200,000 terms. These are sparse,
    with no more entries than the training rows.
    """

    classes_: np.ndarray
    """Class index of each column, int [K]."""
    centroids_: Any
    """Sparse [K, F], each row of length 1."""

    def fit(self, features: Any, labels: np.ndarray) -> Centroids:
        """Learn the centroids of training rows.

        Args:
            features: sparse [N, F], each row of length 1.
            labels: class indices, int [N].
        """
        self.classes_, places = np.unique(labels, return_inverse=True)
        rows = np.arange(len(labels))
        members = csr_matrix((np.ones(len(rows)), (places, rows)), shape=(len(self.classes_), len(rows)))
        self.centroids_ = normalize(members @ features)
        return self

    def decision_function(self, features: Any) -> np.ndarray:
        """Return the cosine of each row with each centroid, float [N, K]."""
        return np.asarray((features @ self.centroids_.T).toarray())
