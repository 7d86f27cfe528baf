"""Networks: the backbone, the paper's head, what each stage trains, and where the weights come from."""
