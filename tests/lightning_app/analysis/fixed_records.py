"""Records by formulas, some missing, and what R (4.2; lme4 1.1-31, clubSandwich 0.5.8, pbkrtest 0.5.2) makes of them.

The numbers below come from these records, written with 17 digits and _ in place of /::

    contrasts(d$backbone) <- contr.sum(3)
    f <- log(test_loss) ~ I(log(n_train) / data_ref_d_mle) + log(data_ref_K_F) + domain + backbone + (1 | data)
    fit <- lmer(f, d, control = control)  # REML = FALSE for AIC and likelihood ratio; control as in grouped_data.py
    coef_test(fit, vcov = "CR2", test = "Satterthwaite"); conf_int(fit, vcov = "CR2", test = "Satterthwaite")
    linear_contrast(fit, vcov = "CR2", contrasts = matrix(c(0, 0, 0, 0, -1, -1), 1))  # the last backbone
    b + c(-1, 1) * qt(.975, Lb_ddf(L, vcov(fit), vcovAdj(fit))) * sqrt(t(L) %*% vcovAdj(fit) %*% L)
    fe <- lm(log(test_loss) ~ I(log(n_train) / data_ref_d_mle) + backbone + factor(data), d)
    conf_int(fe, vcov = "CR2", cluster = d$data, test = "Satterthwaite")
"""

import numpy as np
import pandas as pd

DOMAINS = ("medical",) * 5 + ("natural",) * 3
LOST = [4, 31, 32, 33, 70]

TAU2, SIGMA2 = 0.06173643403, 0.01931980788

CR2 = {  # estimate, standard error, degrees of freedom, ends of the 95 % interval, p
    "intercept": (0.8533763778, 0.2001744514, 5.23487341, 0.3456786863, 1.3610740694, 7.21239305e-03),
    "log N / d": (-1.6751246074, 0.1381394465, 5.44396468, -2.0216874557, -1.3285617591, 3.80443268e-05),
    "log K_F": (1.1554635042, 0.1137761727, 3.67581515, 0.8282735480, 1.4826534603, 8.04680441e-04),
    "domain: natural": (-0.0621279981, 0.1465823764, 3.70243178, -0.4823361152, 0.3580801189, 6.95132911e-01),
    "backbone: resnet18": (-0.0723107361, 0.0217330235, 6.94111470, -0.1237896823, -0.0208317898, 1.27957007e-02),
    "backbone: vgg13": (-0.0144395154, 0.0132376112, 6.60837894, -0.0461214879, 0.0172424571, 3.13530147e-01),
    "backbone: vgg16": (0.0867502515, 0.0206199597, 6.83160166, 0.0377470884, 0.135753414, 0.004223887512),
}
KENWARD_ROGER = {
    "intercept": (0.520565001, 1.186187755),
    "log N / d": (-1.982641297, -1.367607918),
    "log K_F": (0.8247157113, 1.486211297),
    "domain: natural": (-0.5432462093, 0.418990213),
    "backbone: resnet18": (-0.1198519369, -0.02476953524),
    "backbone: vgg13": (-0.06372684959, 0.03484781881),
    "backbone: vgg16": (0.03827621239, 0.1352242905),
}
FIXED_EFFECTS = {
    "log N / d": (-2.0271193707, -1.3114639960),
    "backbone: resnet18": (-0.1241090660, -0.0201004109),
    "backbone: vgg13": (-0.0462242045, 0.0170683029),
    "backbone: vgg16": (0.0371786534, 0.136186725),
}
AIC = {"": -38.60823138, "log K_F": -17.86574319, "d": -29.82535222, "log N / d": 30.00427936}
LIKELIHOOD_RATIO = {"log K_F": (22.74249, 1.8523e-06), "log N / d": (70.61251, None)}  # and p by χ², where R prints it
LEFT_OUT = {"": 0.3306001546, "log K_F": 1.1389220041, "d": 0.4091409829, "log N / d": 0.4451342811}
"""sqrt(mean(s)), s of a set being mean((log(o$test_loss) - predict(lmer(f, d[d$data != g, ]), o, re.form = NA))^2)."""


def fixed_records() -> pd.DataFrame:
    """Eight data sets of two domains, three backbones, three sizes; no randomness."""
    rows = []
    for s, domain in enumerate(DOMAINS):
        for b, backbone in enumerate(("resnet18", "vgg13", "vgg16")):
            for n_train in (100, 300, 900):
                i = len(rows)
                d, k_f = 6.0 + 5 * np.sin(s + 1) ** 2, float(np.exp(np.sin(2 * s)))
                log_loss = 1 - 2 * np.log(n_train) / d + np.log(k_f) + 0.1 * b
                log_loss += 0.3 * np.cos(7 * s) + 0.2 * np.sin(5 * i**1.5)
                rows.append(
                    {
                        "run_id": f"run {i}",
                        "status": "finished",
                        "command": "fit",
                        "data": f"set {s}",
                        "domain": domain,
                        "backbone": backbone,
                        "n_train": n_train,
                        "data_ref/d_mle": d,
                        "data_ref/K_F": k_f,
                        "data_ref/K_F_stderr": 0.1 * k_f * (1 + s % 3),
                        "test/loss": float(np.exp(log_loss)),
                    }
                )
    return pd.DataFrame(rows).drop(index=LOST).reset_index(drop=True)
