"""The whole training step from the formulae: networks, terms and total, one vector at a time.

Weights come from the networks under test, which are asked for nothing else. What is given is what a
step draws or receives: voxels, states of the frozen text encoder, and which patches and words hide.
"""

import torch
from torch import Tensor, nn

from reference import contrast, networks
from reference.alignment import cosine
from simcrop.objectives.contrast import AlignmentInput

TEMPERATURE = 0.07


def patch_voxels(volume: Tensor, crop: tuple[int, ...], patch: tuple[int, ...]) -> list[Tensor]:
    """The voxels of every patch, x slowest and z fastest, within a patch too."""
    counts = [c // p for c, p in zip(crop, patch, strict=True)]
    patches = []
    for gx in range(counts[0]):
        for gy in range(counts[1]):
            for gz in range(counts[2]):
                voxels = [
                    volume[gx * patch[0] + i, gy * patch[1] + j, gz * patch[2] + k]
                    for i in range(patch[0])
                    for j in range(patch[1])
                    for k in range(patch[2])
                ]
                patches.append(torch.stack(voxels))
    return patches


def pre_norm_block(block: nn.Module, tokens: list[Tensor]) -> list[Tensor]:
    """y = x + W_o Attention(LN(x)); x' = y + MLP(LN(y))."""
    normed = [networks.layer_norm(block.attention_norm, x) for x in tokens]
    after = []
    for x, query in zip(tokens, normed, strict=True):
        attended = networks.attend(block.attention, query, normed)
        y = x + networks.linear(block.attention_output, attended)
        hidden = networks.gelu(
            networks.linear(block.mlp[0], networks.layer_norm(block.mlp_norm, y))
        )
        after.append(y + networks.linear(block.mlp[2], hidden))
    return after


def encode(encoder: nn.Module, patches: list[Tensor], visible: list[int]) -> list[Tensor]:
    """Class token and visible patches through all blocks and the final norm."""
    tokens = [encoder.cls_token] + [
        networks.linear(encoder.patch_embedding.projection, patches[i]) + encoder.position[i]
        for i in visible
    ]
    for block in encoder.blocks:
        tokens = pre_norm_block(block, tokens)
    return [networks.layer_norm(encoder.norm, x) for x in tokens]


def decode(decoder: nn.Module, encoded: list[Tensor], visible: list[int]) -> list[Tensor]:
    """Every token in its place, every block on all tokens; voxels of all patches."""
    places = [decoder.mask_token + row for row in decoder.position]
    for token, index in zip(encoded[1:], visible, strict=True):
        places[index] = networks.linear(decoder.embedding, token) + decoder.position[index]
    tokens = [networks.linear(decoder.embedding, encoded[0]), *places]
    for block in decoder.blocks:
        tokens = pre_norm_block(block, tokens)
    return [networks.linear(decoder.head, networks.layer_norm(decoder.norm, x)) for x in tokens[1:]]


def project(head: nn.Module, vector: Tensor) -> Tensor:
    """Linear, GELU, LayerNorm, linear."""
    first, _, norm, last = head
    hidden = networks.gelu(networks.linear(first, vector))
    return networks.linear(last, networks.layer_norm(norm, hidden))


def losses(
    module: nn.Module, batch, masking, top_k: int, negatives: str, **more: float
) -> dict[str, Tensor]:
    """Every term of the step, by its name in the logs; `more` is for the alignment."""
    model, volume = module.simcrop, module.config.volume
    squared, words, embeddings, sentences, whole = [], [], [], [], []
    for b in range(len(batch)):
        patches = patch_voxels(batch.voxels[b], volume.crop_shape, volume.patch_shape)
        visible = masking.visible[b].tolist()
        encoded = encode(model.vision_encoder, patches, visible)
        predicted = decode(model.vision_decoder, encoded, visible)
        for i in range(len(patches)):
            if i not in visible:
                squared += [(p - v) ** 2 for p, v in zip(predicted[i], patches[i], strict=True)]
        words += hidden_words(module, batch, b, torch.stack(encoded[1:]))
        embeddings.append(torch.stack([project(model.image_projection, z) for z in encoded[1:]]))
        states = batch.findings_states[b]
        numbers = batch.sentence_of_word[b].tolist()
        projected = torch.stack([project(model.sentence_projection, h) for h in states])
        num_sentences = batch.sentence_keys.shape[1]
        sentences.append(networks.pool_sentences(projected, numbers, num_sentences))
        own = [h for h, number in zip(states, numbers, strict=True) if number]
        report = sum(own) / len(own) if own else torch.zeros_like(states[0])
        whole.append(
            (
                project(model.volume_projection, sum(encoded[1:]) / len(visible)),
                project(model.findings_projection, report),
            )
        )
    inputs = AlignmentInput(
        patches=torch.stack(embeddings),
        sentences=torch.stack(sentences),
        is_candidate=torch.ones(masking.visible.shape, dtype=torch.bool),
        keys=batch.sentence_keys,
        is_valid=batch.sentence_is_valid,
        weights=batch.sentence_weights.double(),
    )
    aligned = contrast.NEGATIVES[negatives](
        inputs, top_k=top_k, temperature=TEMPERATURE, reduction="report", **more
    )
    return {
        "patch_loss": sum(squared) / len(squared),
        "report_loss": sum(words) / len(words),
        "alignment_loss": aligned,
        "instance_loss": instance(whole, batch),
    }


def hidden_words(module: nn.Module, batch, b: int, tokens: Tensor) -> list[Tensor]:
    """-log softmax at every hidden word of one report."""
    model = module.simcrop
    is_valid = batch.report_is_valid[b].tolist()
    words = torch.stack([project(model.report_projection, h) for h in batch.report_states[b]])
    fused = networks.fuse(model.fusion, words, is_valid, tokens)
    logits = networks.decode_words(model.text_decoder, fused, is_valid)
    return [
        row.exp().sum().log() - row[word]
        for row, word, hidden, real in zip(
            logits, batch.report_ids[b].tolist(), batch.is_masked[b].tolist(), is_valid, strict=True
        )
        if hidden and real
    ]


def instance(whole: list[tuple[Tensor, Tensor]], batch) -> Tensor:
    """Volumes against reports and back, reports that say the same being right as well."""
    said = [
        [key for key, real in zip(keys, valid, strict=True) if real]
        for keys, valid in zip(
            batch.sentence_keys.tolist(), batch.sentence_is_valid.tolist(), strict=True
        )
    ]
    known = [b for b in range(len(whole)) if said[b]]
    logits = {(i, j): cosine(whole[i][0], whole[j][1]) / TEMPERATURE for i in known for j in known}
    terms = []
    for i in known:
        same = [j for j in known if said[j] == said[i]]
        others = [j for j in known if said[j] != said[i]]
        if others:
            to_report = contrast.minus_log_share(
                [logits[i, j] for j in same], [logits[i, j] for j in others]
            )
            to_volume = contrast.minus_log_share(
                [logits[j, i] for j in same], [logits[j, i] for j in others]
            )
            terms.append(to_report + to_volume)
    return sum(terms) / len(terms)
