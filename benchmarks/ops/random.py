# SPDX-License-Identifier: Apache-2.0
"""Samplers, and densities of samples."""

from .entry import SQUARE, Array, Op

PARAMETERS = Array((16,), (256,))
SAMPLES = Array((16, 16), (256, 4096))


def sampled(program):
    """M numbers for each pair of parameters."""
    return Op(
        program,
        a=PARAMETERS.positive(),
        b=PARAMETERS.positive(),
        first=("M = 16 if a.shape[0]==16 else 4096", ""),
        compared=False,
    )


OPS = {
    "uniform": Op(
        "nd.random.uniform(0, 1, shape=a.shape)",
        "torch.rand(a.shape)",
        a=SQUARE,
        first=("", "B = torch.full(a.shape, 3.0)"),
        compared=False,
    ),
    "random_normal": Op(
        "nd.random.normal(0, 1, shape=a.shape)",
        "torch.randn(a.shape)",
        a=SQUARE,
        first=("", "B = torch.full(a.shape, 3.0)"),
        compared=False,
    ),
    "random_exponential": Op(
        "nd.random.exponential(1.0, shape=a.shape)",
        "torch.empty(a.shape).exponential_(1)",
        a=SQUARE,
        first=("", "B = torch.full(a.shape, 3.0)"),
        compared=False,
    ),
    "random_gamma": Op(
        "nd.random.gamma(2.0, 1.0, shape=a.shape)",
        "torch._standard_gamma(B)",
        a=SQUARE,
        first=("", "B = torch.full(a.shape, 2.0)"),
        compared=False,
    ),
    "random_poisson": Op(
        "nd.random.poisson(3.0, shape=a.shape)",
        "torch.poisson(B)",
        a=SQUARE,
        first=("", "B = torch.full(a.shape, 3.0)"),
        compared=False,
    ),
    "random_negative_binomial": Op("nd.random.negative_binomial(3, 0.4, shape=a.shape)", a=SQUARE, compared=False),
    "random_generalized_negative_binomial": Op(
        "nd.random.generalized_negative_binomial(2.0, 0.3, shape=a.shape)", a=SQUARE, compared=False
    ),
    "random_randint": Op(
        "nd.random.randint(0, 100, shape=a.shape)",
        "torch.randint(0, 100, a.shape, dtype=torch.int32)",
        a=SQUARE,
        first=("", "B = torch.full(a.shape, 3.0)"),
        compared=False,
    ),
    "random_normal_f64": Op(
        "nd.random.normal(0, 1, shape=a.shape, dtype='float64')",
        "torch.randn(a.shape, dtype=torch.float64)",
        a=SQUARE,
        compared=False,
    ),
    "random_poisson_50": Op(
        "nd.random.poisson(50.0, shape=a.shape)",
        "torch.poisson(B)",
        a=SQUARE,
        first=("", "B = torch.full(a.shape, 50.0)"),
        compared=False,
    ),
    "random_gamma_05": Op(
        "nd.random.gamma(0.5, 1.0, shape=a.shape)",
        "torch._standard_gamma(B)",
        a=SQUARE,
        first=("", "B = torch.full(a.shape, 0.5)"),
        compared=False,
    ),
    "sample_uniform": Op(
        "nd.sample_uniform(a, b, shape=(M,))",
        a=PARAMETERS.positive(),
        b=PARAMETERS.positive(),
        first=("b = a + 1\nM = 16 if a.shape[0]==16 else 4096", ""),
        compared=False,
    ),
    "sample_normal": sampled("nd.sample_normal(a, b, shape=(M,))"),
    "sample_exponential": sampled("nd.sample_exponential(a, shape=(M,))"),
    "sample_gamma": sampled("nd.sample_gamma(a, b, shape=(M,))"),
    "sample_poisson": sampled("nd.sample_poisson(a, shape=(M,))"),
    "sample_generalized_negative_binomial": sampled("nd.sample_generalized_negative_binomial(a, b, shape=(M,))"),
    "sample_negative_binomial": Op(
        "nd.sample_negative_binomial(a, b, shape=(M,))",
        a=PARAMETERS.below(4),
        b=PARAMETERS.within(0.05, 0.95),
        first=("a = a + 1\nM = 16 if a.shape[0]==16 else 4096", ""),
        compared=False,
    ),
    "uniform_like": Op("nd.random.uniform_like(data=a)", "torch.rand_like(a)", a=SQUARE, compared=False),
    "normal_like": Op("nd.random.normal_like(data=a)", "torch.randn_like(a)", a=SQUARE, compared=False),
    "exponential_like": Op("nd.random.exponential_like(data=a)", a=SQUARE, compared=False),
    "gamma_like": Op("nd.random.gamma_like(data=a, alpha=2, beta=1)", a=SQUARE, compared=False),
    "poisson_like": Op("nd.random.poisson_like(data=a, lam=3)", a=SQUARE, compared=False),
    "negative_binomial_like": Op("nd.random.negative_binomial_like(data=a, k=3, p=0.4)", a=SQUARE, compared=False),
    "generalized_negative_binomial_like": Op(
        "nd.random.generalized_negative_binomial_like(data=a, mu=2, alpha=0.3)", a=SQUARE, compared=False
    ),
    "multinomial": Op(
        "nd.random.multinomial(a, shape=(M,))",
        "torch.multinomial(a, M, replacement=True)",
        a=Array((4, 10), (64, 1000)).within(0, 1),
        first=(
            ("a = nd.broadcast_div(a, nd.sum(a, axis=1, keepdims=True))\nM = 8 if a.shape[0]==4 else 1024"),
            "a = a / a.sum(1, keepdim=True)\nM = 8 if a.shape[0]==4 else 1024",
        ),
        compared=False,
    ),
    "multinomial_one": Op(
        "nd.random.multinomial(a)",
        "torch.multinomial(a, 1, replacement=True)",
        a=Array((4, 10), (256, 10000)).within(0, 1),
        first=("a = nd.broadcast_div(a, nd.sum(a, axis=1, keepdims=True))", "a = a / a.sum(1, keepdim=True)"),
        compared=False,
    ),
    "multinomial_prob": Op(
        "nd.random.multinomial(a, shape=(M,), get_prob=True)[1]",
        a=Array((4, 10), (64, 1000)).within(0, 1),
        first=(("a = nd.broadcast_div(a, nd.sum(a, axis=1, keepdims=True))\nM = 8 if a.shape[0]==4 else 1024"), ""),
        compared=False,
    ),
    "shuffle": Op("nd.random.shuffle(a)", "a[torch.randperm(a.shape[0])]", a=Array((64,), (1000000,)), compared=False),
    "shuffle_rows": Op(
        "nd.random.shuffle(a)", "a[torch.randperm(a.shape[0])]", a=Array((64, 8), (50000, 64)), compared=False
    ),
    "unique_zipfian": Op(
        "nd._internal._sample_unique_zipfian(100000, shape=a.shape)[0]", a=Array((1, 16), (4, 4096)), compared=False
    ),
    "pdf_uniform": Op(
        "nd.random_pdf_uniform(a, b, c)",
        a=SAMPLES.within(0.05, 0.95),
        b=PARAMETERS.within(0, 0.1),
        c=PARAMETERS.within(0.5, 1.5),
        backward="a",
    ),
    "pdf_normal": Op(
        "nd.random_pdf_normal(a, b, c)",
        a=SAMPLES.within(0.05, 0.95),
        b=PARAMETERS.positive(),
        c=PARAMETERS.within(0.5, 1.5),
        backward="a",
    ),
    "pdf_exponential": Op(
        "nd.random_pdf_exponential(a, b)",
        a=SAMPLES.within(0.05, 0.95),
        b=PARAMETERS.positive(),
        c=PARAMETERS.within(0.5, 1.5),
        backward="a",
    ),
    "pdf_gamma": Op(
        "nd.random_pdf_gamma(a, b, c)",
        a=SAMPLES.within(0.05, 0.95),
        b=PARAMETERS.positive(),
        c=PARAMETERS.within(0.5, 1.5),
        backward="a",
    ),
    "pdf_poisson": Op(
        "nd.random_pdf_poisson(a, b)",
        a=SAMPLES.below(9),
        b=PARAMETERS.positive(),
        c=PARAMETERS.within(0.5, 1.5),
        backward="b",
    ),
    "pdf_negative_binomial": Op(
        "nd.random_pdf_negative_binomial(a, b, c)",
        a=SAMPLES.below(9),
        b=PARAMETERS.positive(),
        c=PARAMETERS.within(0.3, 0.7),
        backward="b",
    ),
    "pdf_generalized_negative_binomial": Op(
        "nd.random_pdf_generalized_negative_binomial(a, b, c)",
        a=SAMPLES.below(9),
        b=PARAMETERS.positive(),
        c=PARAMETERS.within(0.5, 1.5),
        backward="b",
    ),
    "pdf_dirichlet": Op(
        "nd.random_pdf_dirichlet(a, b)",
        a=Array((4, 8, 5), (64, 512, 10)).within(0.1, 1),
        b=Array((4, 5), (64, 10)).positive(),
        backward="a b",
        first=("a = nd.broadcast_div(a, nd.sum(a, axis=2, keepdims=True))", ""),
    ),
}
