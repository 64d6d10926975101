"""Train the model: first the vision tower alone, then everything together (README.md tells of the run made)."""

import argparse
import itertools
import json
import os
import time
from pathlib import Path

import torch
from torch.nn import functional as F

import packing
import stream
import tokeniser
from network import Network, PatchHeads
from optimiser import Muon, split_parameters

VISION_SEED, JOINT_SEED = 100, 200
VISION_BATCH, JOINT_BATCH = 64, 32
WARMUP = 100
PATCH_LOSS = 0.3  # weight of the patch heads' loss beside the language loss


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for the tokenizer, state.pt and log.jsonl; resumes what is there")
    parser.add_argument("--vision-steps", type=int, default=800)
    parser.add_argument("--steps", type=int, required=True, help="joint steps in all")
    parser.add_argument("--decay", type=int, default=0, help="the last so many joint steps decay the rate to zero")
    parser.add_argument("--late", type=int, default=1400, help="joint step after which the slow kinds are asked more")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


class Trainer:
    def __init__(self, args):
        self.args, self.folder = args, args.folder
        args.folder.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(args.threads)
        torch.manual_seed(1)
        words = tokeniser.train()
        tokeniser.save(args.folder, words)
        self.packer = packing.Packer(str(args.folder / "tokenizer.json"), args.late * JOINT_BATCH)
        self.network = Network(tokeniser.vocabulary_size(words), words.token_to_id("<image>"))
        self.heads = PatchHeads(stream.PATCH_CLASSES)
        matrices, others = split_parameters([self.network, self.heads])
        self.parameters = matrices + others
        self.optimisers = [
            Muon(matrices, args.rate),
            torch.optim.AdamW(others, args.rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.done = {"vision": 0, "joint": 0}
        self.averages = {}
        if (args.folder / "state.pt").exists():
            self.restore()

    def restore(self):
        state = torch.load(self.folder / "state.pt", weights_only=True)
        self.network.load_state_dict(state["network"])
        self.heads.load_state_dict(state["heads"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"]):
            optimiser.load_state_dict(saved)
        self.done = state["done"]

    def save(self):
        state = dict(
            network=self.network.state_dict(),
            heads=self.heads.state_dict(),
            optimisers=[optimiser.state_dict() for optimiser in self.optimisers],
            done=self.done,
        )
        torch.save(state, self.folder / "state.new")
        os.replace(self.folder / "state.new", self.folder / "state.pt")

    def update(self, loss, rate):
        for optimiser in self.optimisers:
            optimiser.zero_grad()
            for group in optimiser.param_groups:
                group["lr"] = rate
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimiser in self.optimisers:
            optimiser.step()

    def report(self, stage, step, started, rate, values):
        for key, value in values.items():
            self.averages[key] = 0.98 * self.averages.get(key, value) + 0.02 * value
        if step % 50 == 0:
            means = {key: round(value, 4) for key, value in self.averages.items()}
            line = dict(stage=stage, step=step, seconds=round(time.time() - started), rate=round(rate, 6), **means)
            print(json.dumps(line), flush=True)
            with open(self.folder / "log.jsonl", "a") as log:
                log.write(json.dumps(line) + "\n")
        if step % 100 == 0:
            self.save()

    def train_vision(self):
        started, total = time.time(), self.args.vision_steps
        data = stream.batches(VISION_SEED, VISION_BATCH, self.done["vision"], total)
        for step, (images, labels) in zip(itertools.count(self.done["vision"] + 1), data):
            rate = self.args.rate * min(1.0, step / WARMUP)
            loss, hits = self.heads(self.network.model.vision_model(stream.normalise(images)), labels)
            self.update(loss, rate)
            self.done["vision"] = step
            self.report("vision", step, started, rate, patch_values(loss, hits))

    def train_joint(self):
        started, total = time.time(), self.args.steps
        data = stream.batches(JOINT_SEED, JOINT_BATCH, self.done["joint"], total, self.packer)
        for step, batch in zip(itertools.count(self.done["joint"] + 1), data):
            images, labels, ids, blocks, positions, weights = batch
            rate = self.args.rate * min(1.0, step / WARMUP, (total - step + 1) / max(1, self.args.decay))
            mask = packing.attention_mask(blocks)
            patches, hidden = self.network(stream.normalise(images), ids, positions, mask)
            patch_loss, hits = self.heads(patches, labels)
            answered = weights[:, 1:] > 0
            scores = self.network.lm_head(hidden[:, :-1][answered])
            wanted, worth = ids[:, 1:][answered], weights[:, 1:][answered]
            losses = F.cross_entropy(scores, wanted, reduction="none")
            loss = (losses * worth).sum() / worth.sum()
            right = (scores.argmax(-1) == wanted).float().mean().item()
            self.update(loss + PATCH_LOSS * patch_loss, rate)
            self.done["joint"] = step
            values = dict(loss=loss.item(), right=right, **patch_values(patch_loss, hits))
            self.report("joint", step, started, rate, values)


def patch_values(loss, hits):
    return dict(patch_loss=loss.item(), **dict(zip(("shape", "colour", "size", "cell", "letter"), hits)))


def main():
    trainer = Trainer(arguments())
    trainer.train_vision()
    trainer.save()
    trainer.train_joint()
    trainer.save()


if __name__ == "__main__":
    main()
