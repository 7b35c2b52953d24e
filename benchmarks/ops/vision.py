# SPDX-License-Identifier: Apache-2.0
"""Boxes, regions and grids of images."""

from .entry import Array, Op

MAPS = Array((4, 3, 8, 8), (4, 64, 64, 64))
REGIONS = Array((8, 5), (128, 5))
FEATURES = Array((2, 16, 32, 32), (2, 256, 64, 64))

OPS = {
    "BilinearSampler": Op(
        "nd.BilinearSampler(a, b)",
        "F.grid_sample(a, b.permute(0,2,3,1), align_corners=True)",
        a=MAPS,
        b=Array((4, 2, 8, 8), (4, 2, 64, 64)).within(-1.1, 1.1),
        backward="a b",
    ),
    "GridGenerator_affine": Op(
        "nd.GridGenerator(a, transform_type='affine', target_shape=(T, T))",
        "F.affine_grid(a.view(-1, 2, 3), (a.shape[0], 1, T, T), align_corners=True)",
        a=Array((4, 6), (32, 6)),
        backward="a",
        first=("T = 8 if a.shape[0] == 4 else 64", "T = 8 if a.shape[0] == 4 else 64"),
    ),
    "GridGenerator_warp": Op(
        "nd.GridGenerator(a, transform_type='warp')", a=Array((4, 2, 8, 8), (8, 2, 64, 64)), backward="a"
    ),
    "SpatialTransformer": Op(
        ("nd.SpatialTransformer(a, b, target_shape=a.shape[2:], transform_type='affine', sampler_type='bilinear')"),
        ("F.grid_sample(a, F.affine_grid(b.view(-1,2,3), a.shape, align_corners=True), align_corners=True)"),
        a=MAPS,
        b=Array((4, 6), (4, 6)).within(-0.1, 0.1),
        backward="a b",
        first=("b = b + nd.array([[1, 0, 0, 0, 1, 0]] * 4)", "b = b + torch.tensor([[1., 0, 0, 0, 1, 0]])"),
    ),
    "Correlation": Op(
        ("nd.Correlation(a, b, kernel_size=1, max_displacement=4, stride1=1, stride2=1, pad_size=4)"),
        a=MAPS,
        b=MAPS,
        backward="a b",
    ),
    "DeformableConvolution": Op(
        ("nd.contrib.DeformableConvolution(a, b, c, kernel=(3,3), pad=(1,1), num_filter=c.shape[0], no_bias=True)"),
        a=Array((1, 16, 14, 14), (4, 64, 28, 28)),
        b=Array((1, 18, 14, 14), (4, 18, 28, 28)),
        c=Array((16, 16, 3, 3), (64, 64, 3, 3)),
        backward="a b c",
    ),
    "ModulatedDeformableConvolution": Op(
        (
            "nd.contrib.ModulatedDeformableConvolution(a, b, c, d, kernel=(3,3), pad=(1,1), "
            "num_filter=d.shape[0], no_bias=True)"
        ),
        a=Array((1, 16, 14, 14), (4, 64, 28, 28)),
        b=Array((1, 18, 14, 14), (4, 18, 28, 28)),
        c=Array((1, 9, 14, 14), (4, 9, 28, 28)).within(0.05, 0.95),
        d=Array((16, 16, 3, 3), (64, 64, 3, 3)),
    ),
    "MultiBoxPrior": Op(
        "nd.contrib.MultiBoxPrior(a, sizes=(0.5,0.25,0.1), ratios=(1,2,0.5))", a=Array((1, 3, 8, 8), (1, 3, 64, 64))
    ),
    "MultiBoxTarget": Op(
        "nd.contrib.MultiBoxTarget(a, b, c)[0]",
        a=Array((1, 100, 4), (1, 8732, 4)).within(0, 1),
        b=Array((8, 3, 5), (8, 8, 5)).within(0, 1),
        c=Array((8, 6, 100), (8, 6, 8732)),
        first=(
            (
                "a = nd.concat(*(f(nd.slice_axis(a, axis=-1, begin=0, end=2), nd.slice_axis(a, "
                "axis=-1, begin=2, end=4)) for f in (nd.minimum, nd.maximum)), dim=-1)\nb[:, :, 0] = "
                "nd.floor(5 * b[:, :, 0])"
            ),
            "",
        ),
    ),
    "MultiBoxDetection": Op(
        "nd.contrib.MultiBoxDetection(a, b, c, nms_topk=400)",
        a=Array((8, 6, 100), (8, 6, 8732)).within(0.05, 0.95),
        b=Array((8, 400), (8, 34928)).within(-0.1, 0.1),
        c=Array((1, 100, 4), (1, 8732, 4)).within(0, 1),
        first=(
            (
                "c = nd.concat(*(f(nd.slice_axis(c, axis=-1, begin=0, end=2), nd.slice_axis(c, "
                "axis=-1, begin=2, end=4)) for f in (nd.minimum, nd.maximum)), dim=-1)"
            ),
            "",
        ),
    ),
    "box_nms": Op(
        "nd.contrib.box_nms(a, overlap_thresh=0.5, id_index=0)",
        a=Array((1, 100, 6), (4, 3000, 6)).within(0, 1),
        backward="a",
        first=(
            (
                "a = nd.concat(nd.floor(20 * a[:, :, 0:1]), a[:, :, 1:2], nd.minimum(a[:, :, 2:4], "
                "a[:, :, 4:6]), nd.maximum(a[:, :, 2:4], a[:, :, 4:6]), dim=2)"
            ),
            "",
        ),
    ),
    "box_nms_topk": Op(
        ("nd.contrib.box_nms(a, overlap_thresh=0.5, topk=100, valid_thresh=0.01, force_suppress=True)"),
        a=Array((1, 100, 6), (4, 3000, 6)).within(0, 1),
        first=(
            (
                "a = nd.concat(nd.floor(20 * a[:, :, 0:1]), a[:, :, 1:2], nd.minimum(a[:, :, 2:4], "
                "a[:, :, 4:6]), nd.maximum(a[:, :, 2:4], a[:, :, 4:6]), dim=2)"
            ),
            "",
        ),
    ),
    "box_iou": Op(
        "nd.contrib.box_iou(a, b)",
        a=Array((10, 4), (500, 4)).within(0, 1),
        b=Array((10, 4), (2000, 4)).within(0, 1),
        first=(
            (
                "a = nd.concat(*(f(nd.slice_axis(a, axis=-1, begin=0, end=2), nd.slice_axis(a, "
                "axis=-1, begin=2, end=4)) for f in (nd.minimum, nd.maximum)), dim=-1)\nb = "
                "nd.concat(*(f(nd.slice_axis(b, axis=-1, begin=0, end=2), nd.slice_axis(b, axis=-1, "
                "begin=2, end=4)) for f in (nd.minimum, nd.maximum)), dim=-1)"
            ),
            "",
        ),
    ),
    "bipartite_matching": Op(
        "nd.contrib.bipartite_matching(a, threshold=0.1)[0]", a=Array((1, 10, 10), (4, 200, 100)).within(0.05, 0.95)
    ),
    "box_encode": Op(
        "nd.contrib.box_encode(a, b, c, d, nd.array([0.,0,0,0]), nd.array([0.1,0.1,0.2,0.2]))[0]",
        a=Array((2, 10), (8, 5000)).below(2),
        b=Array((2, 10), (8, 5000)).below(3),
        c=Array((2, 10, 4), (8, 5000, 4)).within(0, 1),
        d=Array((2, 3, 4), (8, 3, 4)).within(0, 1),
        first=(
            (
                "c = nd.concat(*(f(nd.slice_axis(c, axis=-1, begin=0, end=2), nd.slice_axis(c, "
                "axis=-1, begin=2, end=4)) for f in (nd.minimum, nd.maximum)), dim=-1)\nd = "
                "nd.concat(*(f(nd.slice_axis(d, axis=-1, begin=0, end=2), nd.slice_axis(d, axis=-1, "
                "begin=2, end=4)) for f in (nd.minimum, nd.maximum)), dim=-1)"
            ),
            "",
        ),
    ),
    "box_decode": Op(
        "nd.contrib.box_decode(a, b)",
        a=Array((2, 10, 4), (8, 5000, 4)),
        b=Array((1, 10, 4), (1, 5000, 4)).within(0, 1),
        first=(
            (
                "b = nd.concat(*(f(nd.slice_axis(b, axis=-1, begin=0, end=2), nd.slice_axis(b, "
                "axis=-1, begin=2, end=4)) for f in (nd.minimum, nd.maximum)), dim=-1)"
            ),
            "",
        ),
    ),
    "BilinearResize2D": Op(
        "nd.contrib.BilinearResize2D(a, height=2*a.shape[2], width=2*a.shape[3])",
        "F.interpolate(a, scale_factor=2, mode='bilinear', align_corners=True)",
        a=MAPS,
        backward="a",
    ),
    "AdaptiveAvgPooling2D": Op(
        "nd.contrib.AdaptiveAvgPooling2D(a, output_size=7)", "F.adaptive_avg_pool2d(a, 7)", a=MAPS, backward="a"
    ),
    "Crop": Op("nd.Crop(a, offset=(1,1), h_w=(6,6), num_args=1)", "a[:,:,1:7,1:7].contiguous()", a=MAPS, backward="a"),
    "pad_edge": Op(
        "nd.pad(a, mode='edge', pad_width=(0,0,0,0,2,2,2,2))",
        "F.pad(a, (2,2,2,2), 'replicate')",
        a=MAPS,
        backward="a",
    ),
    "pad_reflect": Op(
        "nd.pad(a, mode='reflect', pad_width=(0,0,0,0,2,2,2,2))",
        "F.pad(a, (2,2,2,2), 'reflect')",
        a=MAPS,
        backward="a",
    ),
    "im2col": Op("nd.im2col(a, kernel=(3,3), pad=(1,1))", "F.unfold(a, 3, padding=1)", a=MAPS, backward="a"),
    "col2im": Op(
        "nd.col2im(a, output_size=(8,8) if a.shape[2]==64 else (64,64), kernel=(3,3), pad=(1,1))",
        "F.fold(a, (8,8) if a.shape[2]==64 else (64,64), 3, padding=1)",
        a=Array((4, 27, 64), (4, 288, 4096)),
        backward="a",
    ),
    "ROIPooling": Op(
        "nd.ROIPooling(a, b, pooled_size=(7, 7), spatial_scale=1.0)",
        a=FEATURES,
        b=REGIONS.within(0, 1),
        backward="a",
        first=(
            (
                "b = nd.concat(nd.floor(2 * b[:, :1]), 20 * nd.minimum(b[:, 1:3], b[:, 3:]), 20 * "
                "nd.maximum(b[:, 1:3], b[:, 3:]), dim=1)"
            ),
            "",
        ),
    ),
    "ROIAlign": Op(
        "nd.contrib.ROIAlign(a, b, pooled_size=(7, 7), spatial_scale=1.0, sample_ratio=2)",
        a=FEATURES,
        b=REGIONS.within(0, 1),
        backward="a",
        first=(
            (
                "b = nd.concat(nd.floor(2 * b[:, :1]), 20 * nd.minimum(b[:, 1:3], b[:, 3:]), 20 * "
                "nd.maximum(b[:, 1:3], b[:, 3:]), dim=1)"
            ),
            "",
        ),
    ),
    "RROIAlign": Op(
        "nd.contrib.RROIAlign(a, b, pooled_size=(7, 7), spatial_scale=1.0, sampling_ratio=2)",
        a=FEATURES,
        b=REGIONS.within(0, 1),
        first=(
            (
                "b = nd.concat(nd.floor(2 * b[:, :1]), 20 * nd.minimum(b[:, 1:3], b[:, 3:]), 20 * "
                "nd.maximum(b[:, 1:3], b[:, 3:]), dim=1)\nb = nd.concat(b, 90 * b[:, :1], dim=1)"
            ),
            "",
        ),
    ),
    "PSROIPooling": Op(
        ("nd.contrib.PSROIPooling(a, b, spatial_scale=1.0, output_dim=a.shape[1] // 49, pooled_size=7)"),
        a=Array((2, 98, 32, 32), (2, 490, 64, 64)),
        b=REGIONS.within(0, 1),
        backward="a",
        first=(
            (
                "b = nd.concat(nd.floor(2 * b[:, :1]), 20 * nd.minimum(b[:, 1:3], b[:, 3:]), 20 * "
                "nd.maximum(b[:, 1:3], b[:, 3:]), dim=1)"
            ),
            "",
        ),
    ),
    "DeformablePSROIPooling": Op(
        (
            "nd.contrib.DeformablePSROIPooling(a, b, c, spatial_scale=1.0, output_dim=a.shape[1] "
            "// 49, group_size=7, pooled_size=7, part_size=7, sample_per_part=2, trans_std=0.1)"
        ),
        a=Array((2, 98, 32, 32), (2, 490, 64, 64)),
        b=REGIONS.within(0, 1),
        c=Array((8, 2, 7, 7), (128, 2, 7, 7)),
        backward="a",
        first=(
            (
                "b = nd.concat(nd.floor(2 * b[:, :1]), 20 * nd.minimum(b[:, 1:3], b[:, 3:]), 20 * "
                "nd.maximum(b[:, 1:3], b[:, 3:]), dim=1)"
            ),
            "",
        ),
    ),
    "Proposal": Op(
        (
            "nd.contrib.Proposal(a, b, c, feature_stride=16, rpn_pre_nms_top_n=1000, "
            "rpn_post_nms_top_n=100, rpn_min_size=4)"
        ),
        a=Array((1, 24, 4, 4), (1, 24, 38, 38)).within(0, 1),
        b=Array((1, 48, 4, 4), (1, 48, 38, 38)).within(-0.1, 0.1),
        c=Array((1, 3), (1, 3)),
        first=("c = c * 0 + 16 * a.shape[2]\nc[:, 2] = 1", ""),
    ),
    "MultiProposal": Op(
        (
            "nd.contrib.MultiProposal(a, b, c, feature_stride=16, rpn_pre_nms_top_n=1000, "
            "rpn_post_nms_top_n=100, rpn_min_size=4)"
        ),
        a=Array((2, 24, 4, 4), (2, 24, 38, 38)).within(0, 1),
        b=Array((2, 48, 4, 4), (2, 48, 38, 38)).within(-0.1, 0.1),
        c=Array((2, 3), (2, 3)),
        first=("c = c * 0 + 16 * a.shape[2]\nc[:, 2] = 1", ""),
    ),
}
