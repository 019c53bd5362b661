from base import METRICS


@METRICS.register
def share_of_right_tags(output, target):
    return ((output > 0) == (target > 0.5)).float().mean(dim=1)  # (N, L) -> (N,)
