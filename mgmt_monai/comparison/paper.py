"""What the paper compared."""

NETWORKS = ("alexnet", "mobilenet-v2", "resnet-10", "resnet-50", "efficientnet-b0", "efficientnet-b3")
"""Of its Table I, in its order."""

MODALITIES = ("FLAIR", "T1w", "T1wCE", "T2w")
"""Of its Table II, in its order."""

NETWORK, MODALITY = "efficientnet-b0", "T1w"
"""Its best, with which it made Table II and, it seems, Table I."""
