"""The published CLIPs whose full shapes are tried, as their config.json state them, and random weights for them."""

import torch
from transformers import CLIPConfig, CLIPModel

END = 49407


def tower(width, layers, heads, **more):
    return dict(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=heads, **more
    )


def shape(text, vision, projection, act="quick_gelu", end=END):
    text = dict(text, hidden_act=act, bos_token_id=END - 1, eos_token_id=end, projection_dim=projection)
    vision = dict(vision, hidden_act=act, projection_dim=projection)
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=projection)


def base(patch):
    return tower(768, 12, 12, patch_size=patch, image_size=224)


def large(side):
    return tower(1024, 24, 16, patch_size=14, image_size=side)


# OpenAI's files are older than eos_token_id and say 2; LAION's use gelu.
SHAPES = {
    "tinyclip-8m-16": shape(tower(256, 3, 4), tower(256, 10, 4, patch_size=16, image_size=224), 512),
    "vit-b-32": shape(tower(512, 12, 8), base(32), 512, end=2),
    "vit-b-16": shape(tower(512, 12, 8), base(16), 512),
    "vit-l-14": shape(tower(768, 12, 12), large(224), 768, act="gelu"),
    "vit-l-14-336": shape(tower(768, 12, 12), large(336), 768, end=2),
}


def spread(model):
    """An open_clip model, its random weights made larger for the same reason."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.normal_(std=0.1)
            elif "positional" in name or "token_embedding" in name:
                weight.normal_(std=0.5)
            elif weight.ndim == 2:
                weight.mul_(2)
    return model


def random_model(config, seed=0):
    """A model whose embeddings differ as much as a trained one's: at the usual start they hardly do."""
    torch.manual_seed(seed)
    model = CLIPModel(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.normal_(std=0.1)
            elif "norm" in name or "layrnorm" in name:
                weight.normal_(mean=1.0, std=0.1)
            elif "embedding" in name:
                weight.normal_(std=weight[0].numel() ** -0.5 if "patch" in name else 0.5)
            elif weight.ndim == 2:
                weight.normal_(std=1.3 * weight.shape[1] ** -0.5)
    return model
