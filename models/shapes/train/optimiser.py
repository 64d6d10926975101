"""Muon for the matrices (Jordan et al. 2024, kellerjordan.github.io/posts/muon), AdamW for everything else."""

import torch


def orthogonal(g: torch.Tensor) -> torch.Tensor:
    """Newton-Schulz steps towards the nearest matrix with singular values near 1; `g` is a stack of matrices."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = g.shape[-2] > g.shape[-1]
    x = g.mT if tall else g
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        s = x @ x.mT
        x = a * x + (b * s + c * s @ s) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Matrices of one shape are updated together, as one stack."""

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.01):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            by_shape = {}
            for p in group["params"]:
                if p.grad is not None:
                    by_shape.setdefault(p.shape, []).append(p)
            for shape, params in by_shape.items():
                updates = []
                for p in params:
                    state = self.state[p]
                    if "momentum" not in state:
                        state["momentum"] = torch.zeros_like(p)
                    state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                    updates.append(p.grad.lerp(state["momentum"], group["momentum"]))
                # The scale keeps an update's size per element like AdamW's (Liu et al. 2025, arXiv:2502.16982).
                scale = 0.2 * max(shape) ** 0.5
                for p, update in zip(params, orthogonal(torch.stack(updates))):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(update, alpha=-group["lr"] * scale)


def split_parameters(modules) -> tuple[list, list]:
    """(matrices of the layers, everything else: embeddings, heads, norms, biases)."""
    matrices, others = [], []
    for module in modules:
        for name, p in module.named_parameters():
            inner = p.dim() == 2 and ("layers." in name or "connector" in name)
            (matrices if inner else others).append(p)
    return matrices, others
