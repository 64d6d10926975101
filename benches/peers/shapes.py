"""Sizes and settings of the models that are measured, and the template of their prompts."""

# SmolLM2-135M.
SMOL = dict(
    hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, head_dim=64,
    rms_norm_eps=1e-5, rope_theta=100000.0, max_position_embeddings=8192,
)
SMOL_TOKENS = 49_152

# What SmolVLM-256M adds: its vision tower, and 128 tokens.
TOWER = dict(
    hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, num_channels=3, image_size=512,
    patch_size=16, hidden_act="gelu_pytorch_tanh", layer_norm_eps=1e-6,
)
SHUFFLE = 4
LONGEST_EDGE = 2048

# A model that does nothing slowly, so that what is left is the preparation of pictures.
TINY = dict(SMOL, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1)
TINY_TOWER = dict(TOWER, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=1)

# The decoder of Qwen2-VL-2B, and of its vision tower one layer of 32: only text is measured.
TWO_B = dict(
    hidden_size=1536, intermediate_size=8960, num_hidden_layers=28, num_attention_heads=12, num_key_value_heads=2,
    rms_norm_eps=1e-6, rope_theta=1000000.0, max_position_embeddings=32768,
)
TWO_B_TOKENS = 151_936
TWO_B_SECTIONS = [16, 24, 24]
TWO_B_TOWER = dict(
    depth=1, embed_dim=1280, hidden_size=1536, num_heads=16, mlp_ratio=4, in_channels=3, in_chans=3, patch_size=14,
    spatial_patch_size=14, spatial_merge_size=2, temporal_patch_size=2, hidden_act="quick_gelu",
)

# At their places in the vocabularies.
SMOL_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SMOL_ADDED = (
    ["<global-img>"]
    + [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    + ["<fake_token_around_image>", "<image>"]
)
SMOL_END = "<end_of_utterance>"
SMOL_ADDED += [f"<|reserved_special_token_{number}|>" for number in range(127 - len(SMOL_ADDED))] + [SMOL_END]
TWO_B_FIRST = 151_643
TWO_B_SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>",
    "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
]

SMOL_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
TWO_B_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% elif part['type'] == 'text' %}{{ part['text'] }}"
    "{% endif %}{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def smol_prompt(text, picture=""):
    """What the template makes of one message; `picture` is what stands for a picture in front of it."""
    return f"<|im_start|>User:{picture or ' '}{text}{SMOL_END}\nAssistant:"


def two_b_prompt(text):
    """The same of the other model."""
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
