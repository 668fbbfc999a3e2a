"""Linear CKA from the biased HSIC estimator (Gretton et al. 2005), kept for comparison with the unbiased one."""

from torch import Tensor

from edgeprune.similarity.cka_unbiased import LinearCKA


def double_centred(gram: Tensor) -> Tensor:
    """Center rows and columns: the inner product of two such matrices is the biased HSIC, tr(KHLH) / (n - 1)².

    Args:
        gram: (n, n), n at least 2.

    Returns:
        (n, n), HKH / (n - 1) with H the centering matrix.
    """
    means = gram.mean(dim=0)
    return (gram - means[:, None] - means[None, :] + means.mean()) / (len(gram) - 1)


metric = LinearCKA(double_centred)
