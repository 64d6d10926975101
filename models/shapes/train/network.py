"""The Idefics3 / SmolVLM architecture in its leanest training form, with transformers' parameter names and numbers.

transformers spends most of a CPU step of so small a model outside of matrix products; this runs several times faster.
`export.py` checks that both give the same logits.
"""

import torch
from torch import nn
from torch.nn import functional as F

IMAGE, PATCH, SHUFFLE = 96, 12, 2
GRID = IMAGE // PATCH
IMAGE_TOKENS = (GRID // SHUFFLE) ** 2

VISION = dict(hidden_size=128, intermediate_size=256, num_hidden_layers=4, num_attention_heads=4)
TEXT = dict(hidden_size=128, intermediate_size=256, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2)
HEAD = 32
LAYER_NORM_EPS, RMS_NORM_EPS, ROPE_THETA = 1e-6, 1e-5, 10000.0


def gelu_tanh(x):
    """GELU's tanh form, written with a sigmoid because that is faster here."""
    return x * torch.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))


class VisionAttention(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.v_proj, self.out_proj = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = (p(x).view(b, n, self.heads, -1).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c))


class VisionMlp(nn.Module):
    def __init__(self, hidden, inner):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(hidden, inner), nn.Linear(inner, hidden)

    def forward(self, x):
        return self.fc2(gelu_tanh(self.fc1(x)))


class VisionLayer(nn.Module):
    def __init__(self, hidden, inner, heads):
        super().__init__()
        self.self_attn, self.mlp = VisionAttention(hidden, heads), VisionMlp(hidden, inner)
        self.layer_norm1 = nn.LayerNorm(hidden, LAYER_NORM_EPS)
        self.layer_norm2 = nn.LayerNorm(hidden, LAYER_NORM_EPS)

    def forward(self, x):
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class VisionModel(nn.Module):
    """SigLIP's tower over one square picture: [pictures, 3, IMAGE, IMAGE] -> [pictures, patches, hidden]."""

    def __init__(self):
        super().__init__()
        hidden = VISION["hidden_size"]
        self.embeddings = nn.Module()
        self.embeddings.patch_embedding = nn.Conv2d(3, hidden, PATCH, PATCH)
        self.embeddings.position_embedding = nn.Embedding(GRID * GRID, hidden)
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(
            VisionLayer(hidden, VISION["intermediate_size"], VISION["num_attention_heads"])
            for _ in range(VISION["num_hidden_layers"])
        )
        self.post_layernorm = nn.LayerNorm(hidden, LAYER_NORM_EPS)

    def forward(self, pixels):
        b = pixels.shape[0]
        patches = pixels.view(b, 3, GRID, PATCH, GRID, PATCH).permute(0, 2, 4, 1, 3, 5).reshape(b, GRID * GRID, -1)
        conv = self.embeddings.patch_embedding
        x = F.linear(patches, conv.weight.flatten(1), conv.bias) + self.embeddings.position_embedding.weight
        for layer in self.encoder.layers:
            x = layer(x)
        return self.post_layernorm(x)


class TextAttention(nn.Module):
    def __init__(self, hidden, heads, kv_heads):
        super().__init__()
        self.heads, self.kv_heads = heads, kv_heads
        self.q_proj = nn.Linear(hidden, heads * HEAD, bias=False)
        self.k_proj = nn.Linear(hidden, kv_heads * HEAD, bias=False)
        self.v_proj = nn.Linear(hidden, kv_heads * HEAD, bias=False)
        self.o_proj = nn.Linear(heads * HEAD, hidden, bias=False)

    def forward(self, x, cos, sin, mask):
        b, n, _ = x.shape
        q = rotate(self.q_proj(x).view(b, n, self.heads, HEAD).transpose(1, 2), cos, sin)
        k = rotate(self.k_proj(x).view(b, n, self.kv_heads, HEAD).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(b, n, self.kv_heads, HEAD).transpose(1, 2)
        repeat = self.heads // self.kv_heads
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o_proj(out.transpose(1, 2).reshape(b, n, -1))


def rotate(x, cos, sin):
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


class TextMlp(nn.Module):
    def __init__(self, hidden, inner):
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(hidden, inner, bias=False), nn.Linear(hidden, inner, bias=False)
        self.down_proj = nn.Linear(inner, hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class TextLayer(nn.Module):
    def __init__(self, hidden, inner, heads, kv_heads):
        super().__init__()
        self.self_attn, self.mlp = TextAttention(hidden, heads, kv_heads), TextMlp(hidden, inner)
        self.input_layernorm = nn.RMSNorm(hidden, RMS_NORM_EPS)
        self.post_attention_layernorm = nn.RMSNorm(hidden, RMS_NORM_EPS)

    def forward(self, x, cos, sin, mask):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class TextModel(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        hidden = TEXT["hidden_size"]
        self.embed_tokens = nn.Embedding(vocabulary, hidden)
        self.layers = nn.ModuleList(
            TextLayer(hidden, TEXT["intermediate_size"], TEXT["num_attention_heads"], TEXT["num_key_value_heads"])
            for _ in range(TEXT["num_hidden_layers"])
        )
        self.norm = nn.RMSNorm(hidden, RMS_NORM_EPS)

    def forward(self, x, positions, mask):
        powers = torch.arange(0, HEAD, 2) / HEAD
        angles = positions[:, None, :, None] * (1.0 / ROPE_THETA**powers)
        angles = torch.cat((angles, angles), -1)  # [pictures, 1, tokens, HEAD]
        cos, sin = angles.cos(), angles.sin()
        for layer in self.layers:
            x = layer(x, cos, sin, mask)
        return self.norm(x)


class Connector(nn.Module):
    """SHUFFLE x SHUFFLE patches side by side become one image token."""

    def __init__(self):
        super().__init__()
        self.modality_projection = nn.Module()
        self.modality_projection.proj = nn.Linear(VISION["hidden_size"] * SHUFFLE**2, TEXT["hidden_size"], bias=False)

    def forward(self, x):
        b, small = x.shape[0], GRID // SHUFFLE
        x = x.view(b, small, SHUFFLE, small, SHUFFLE, -1).permute(0, 1, 3, 2, 4, 5)
        return self.modality_projection.proj(x.reshape(b, small * small, -1))


class Network(nn.Module):
    def __init__(self, vocabulary: int, image_token: int):
        super().__init__()
        self.image_token = image_token
        self.model = nn.Module()
        self.model.vision_model = VisionModel()
        self.model.connector = Connector()
        self.model.text_model = TextModel(vocabulary)
        self.lm_head = nn.Linear(TEXT["hidden_size"], vocabulary, bias=False)
        for name, p in self.named_parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02 if "embed" in name and "patch" not in name else p[0].numel() ** -0.5)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def forward(self, pixels, ids, positions, mask):
        """Hidden states of the patches and of the tokens, before the language head."""
        patches = self.model.vision_model(pixels)
        features = self.model.connector(patches)  # [pictures, IMAGE_TOKENS, hidden]
        x = self.model.text_model.embed_tokens(ids)
        # Every prompt begins alike, so the picture's tokens lie at the same place in each row.
        start = int((ids[0] == self.image_token).nonzero()[0])
        x = torch.cat((x[:, :start], features, x[:, start + IMAGE_TOKENS :]), 1)
        return patches, self.model.text_model(x, positions, mask)


class PatchHeads(nn.Module):
    """Training only: say for each patch which shape, colour, size, cell and letter lies there."""

    def __init__(self, classes: list[int]):
        super().__init__()
        self.classes = classes
        self.proj = nn.Linear(VISION["hidden_size"], sum(classes))

    def forward(self, patches, labels):
        """The mean loss, and the share of right answers for each kind; `labels` is [pictures, kinds, patches]."""
        losses, hits = [], []
        for kind, scores in enumerate(self.proj(patches).split(self.classes, -1)):
            want = labels[:, kind].flatten()
            scores = scores.flatten(0, 1)
            covered = want > 0
            # Most patches are empty; count them less so that the objects teach.
            weight = torch.where(covered, 1.0, 0.15)
            losses.append((F.cross_entropy(scores, want, reduction="none") * weight).sum() / weight.sum())
            hits.append((scores.argmax(-1) == want)[covered].float().mean().item())
        return sum(losses), hits
