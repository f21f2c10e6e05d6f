# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps and pace against torch's classes."""

import pytest
import torch

from py4dstem_rrvae.training.optimiser import Adam, one_cycle


@pytest.mark.parametrize("total", [1, 2, 3, 10, 1000])
def test_the_pace_is_that_of_torch_s_one_cycle(total):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=total)
    for step in range(total):
        (group,) = optimizer.param_groups
        assert one_cycle(step, total) == pytest.approx((group["lr"], group["betas"][0]))
        optimizer.step()
        if step < total - 1:
            rate.step()


def test_steps_are_those_of_torch_s_adam():
    ours, torch_s = ([torch.ones(3), torch.zeros(2, 2)] for _ in range(2))
    adam, other = Adam(ours, beta2=0.97), torch.optim.Adam(torch_s, betas=(0.9, 0.97))
    generator = torch.Generator().manual_seed(0)
    for step in range(5):
        (group,) = other.param_groups
        group["lr"], group["betas"] = 0.1 / (1 + step), (0.9 - 0.01 * step, 0.97)
        gradients = [torch.randn(p.shape, generator=generator) for p in ours]
        for parameter, gradient in zip(torch_s, gradients, strict=True):
            parameter.grad = gradient
        adam.step(gradients, group["lr"], group["betas"][0])
        other.step()
    for mine, its in zip(ours, torch_s, strict=True):
        torch.testing.assert_close(mine, its)
