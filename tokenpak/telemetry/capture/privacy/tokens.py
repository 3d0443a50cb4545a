"""
The known forms of keys and tokens: those that are recognised by how they begin.

docs/reference/redaction.md has a table that is made from this one.
"""

from __future__ import annotations

import string
from typing import Final

from tokenpak.telemetry.capture.privacy.rule import Rule, rich

_LEAKS: Final = (
    "https://github.com/gitleaks/gitleaks/blob/b58d3f10/config/gitleaks.toml"
)
_HOG: Final = "https://github.com/trufflesecurity/trufflehog/tree/main/pkg/detectors/"
# "task-", "disk-" and "risk-" end in "sk-", too.  The letter before it belongs to no
# word if it is the end of an escape: \nsk-, \x0ask-, %20sk-.
_NO_WORD: Final = (
    r"(?:(?<![A-Za-z0-9]{0})|(?<=\\[abfnrtv]{0})|(?<=%[0-9A-Fa-f]{{2}}{0})"
    r"|(?<=\\x[0-9A-Fa-f]{{2}}{0})|(?<=\\u[0-9A-Fa-f]{{4}}{0}))"
)


_URL: Final = "-_" + string.ascii_letters + string.digits
_REST: Final = "[A-Za-z0-9_-]*"
"""Whatever else is in the same word: a second token, perhaps."""


def _token(name: str, what: str, starts: str, body: str, source: str) -> Rule:
    """Return the rule for tokens that begin with one of *starts*, then *body*."""
    first = tuple(starts.split())
    pattern = "|".join(start.replace(".", r"\.") + body + _REST for start in first)
    return Rule(name, what, first, pattern, source)


TOKENS: Final = (
    Rule(
        "private_key",
        "PEM: from its BEGIN to its END, or to the end of the text",
        ("PRIVATE KEY",),
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[^-]++|-(?!----END [A-Z0-9 ]{0,40}PRIVATE KEY))*+"
        r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?(?:-----)?)?",
        "https://www.rfc-editor.org/rfc/rfc7468",
        inside=True,
    ),
    _token(
        "anthropic_key",
        "`sk-ant-…`",
        "sk-ant-",
        "[A-Za-z0-9_-]{16,}",
        _HOG + "anthropic",
    ),
    Rule(
        "openai_key",
        "`sk-proj-…`, `sk-svcacct-…`, `sk-admin-…`, and `sk-…` of all who copied it",
        ("sk-",),
        r"sk-(?:(?:proj|svcacct|service|admin|None|or-v1|lf)-[A-Za-z0-9_-]{16,}"
        rf"|(?=[A-Za-z0-9]{{20}}){_NO_WORD.format('sk-')}[A-Za-z0-9]{{20}}{_REST})",
        _HOG + "openai",
        # A letter before it that is no hex digit, and ends no escape, is a word's.
        trace=r"(?<![g-zG-Z])sk-|[\\%][a-zA-Z]*sk-|sk-(?:proj|svt|srvi|min|Non|or-v|l)",
    ),
    Rule(
        "openai_session",
        "`sess-…`",
        ("sess-",),
        rf"sess-(?=[A-Za-z0-9]{{30}}){_NO_WORD.format('sess-')}[A-Za-z0-9]{{30}}{_REST}",
        "",
        trace=r"(?<![g-zG-Z])sss-|[\\%][a-zA-Z]*sss-",
    ),
    _token("google_api_key", "`AIza…`", "AIza", "[A-Za-z0-9_-]{35}", _LEAKS),
    Rule(
        "google_token",
        "`ya29.…`",
        ("ya29.",),
        rf"ya29\.(?:c\.)?{rich(12)}[A-Za-z0-9_-]{{20,}}",
        _HOG + "googleoauth2",
        trace=r"y\.\.?[g-zA-Z_-]{12}",
    ),
    _token(
        "google_oauth_secret",
        "`GOCSPX-…`",
        "GOCSPX-",
        "[A-Za-z0-9_-]{20,}",
        "https://rules.sonarsource.com/secrets/RSPEC-6691/",
    ),
    _token(
        "aws_access_key",
        "`AKIA…`, `ASIA…`, `ABIA…`, `ACCA…`; the secret to it is known by its name",
        "AKIA ASIA ABIA ACCA",
        "[A-Z2-7]{16}",
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html",
    ),
    Rule(
        "azure_client_secret",
        "`…Q~…`; keys and signatures of Azure are known by their names",
        ("Q~",),
        # The sign first: to try what is before it everywhere would take long.
        r"Q~(?<=[A-Za-z0-9_~.-]{3}[0-9]Q~)[A-Za-z0-9_~.-]{31,34}",
        _LEAKS,
        before=_URL + "~.",
        reach=4,
    ),
    _token(
        "github_token",
        "`ghp_…`, `gho_…`, `ghu_…`, `ghs_…`, `ghr_…`",
        "ghp_ gho_ ghu_ ghs_ ghr_",
        "[A-Za-z0-9]{36,}",
        _LEAKS,
    ),
    _token("github_pat", "`github_pat_…`", "github_pat_", "[A-Za-z0-9_]{22,}", _LEAKS),
    _token(
        "gitlab_token",
        "`glpat-…`, `gldt-…`, `glrt-…`, `glptt-…`, `glcbt-…`, `glsoat-…`, `glft-…`",
        "glpat- gldt- glrt- glptt- glcbt- glsoat- glft-",
        r"[A-Za-z0-9_-]{20,}(?:\.[0-9a-z]{9})?",
        _LEAKS,
    ),
    Rule(
        "slack_token",
        "`xoxb-…`, `xoxp-…` and their like, `xapp-…`",
        ("xox", "xapp-"),
        r"(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{16,}",
        _LEAKS,
    ),
    Rule(
        "slack_webhook",
        "`hooks.slack.com/services/…`",
        ("hooks.slack.com/",),
        r"hooks\.slack\.com/(?:services|workflows|triggers)/"
        r"(?P<secret>(?:[A-Za-z0-9]{1,20}/){1,4}[A-Za-z0-9]{16,})",
        _LEAKS,
    ),
    Rule(
        "stripe_key",
        "`sk_live_…`, `rk_live_…`, and those of tests",
        ("k_live_", "k_test_", "k_prod_"),
        rf"k_(?<=[rs]k_)(?:live|test|prod)_[A-Za-z0-9]{{10,}}{_REST}",
        _LEAKS,
        before="rs",
        reach=1,
    ),
    _token(
        "stripe_webhook",
        "`whsec_…`",
        "whsec_",
        "[A-Za-z0-9+/=]{24,}",
        "https://docs.gitguardian.com/secrets-detection/secrets-detection-engine/"
        "detectors/specifics/stripe_webhook_secret",
    ),
    Rule(
        "huggingface_token",
        "`hf_…`",
        ("hf_",),
        rf"hf_(?=[A-Za-z0-9]{{30}}){rich(8)}[A-Za-z0-9]{{30}}{_REST}",
        _LEAKS,
        trace=r"h_[g-zA-Z_-]{8}",
    ),
    _token("huggingface_org", "`api_org_…`", "api_org_", "[A-Za-z0-9]{30,}", _LEAKS),
    Rule(
        "replicate_token",
        "`r8_…`",
        ("r8_",),
        rf"r8_(?=[A-Za-z0-9]{{30}}){rich(12)}[A-Za-z0-9]{{30}}{_REST}",
        _HOG + "replicate",
        trace=r"r_[g-zA-Z_-]{12}",
    ),
    _token("groq_key", "`gsk_…`", "gsk_", "[A-Za-z0-9]{40,}", _HOG + "groq"),
    _token("xai_key", "`xai-…`", "xai-", "[A-Za-z0-9_]{60,}", _HOG + "xai"),
    _token("perplexity_key", "`pplx-…`", "pplx-", "[A-Za-z0-9]{40,}", _LEAKS),
    _token("nvidia_key", "`nvapi-…`", "nvapi-", "[A-Za-z0-9_-]{60,}", _HOG + "nvapi"),
    Rule(
        "elevenlabs_key",
        "`sk_…`",
        ("sk_",),
        r"sk_[0-9a-f]{48}(?![A-Za-z0-9_])",
        _HOG + "elevenlabs",
        # None of its hex digits is left, and then it ends; not so task_id.
        trace=r"sk_(?![g-zA-Z_])",
    ),
    _token(
        "langsmith_key",
        "`lsv2_pt_…`, `lsv2_sk_…`",
        "lsv2_pt_ lsv2_sk_",
        "[0-9a-f]{32}_[0-9a-f]{10}",
        _HOG + "langsmith",
    ),
    Rule(
        "jwt",
        "`eyJ….eyJ….…`: JSON web tokens, signed or not",
        ("eyJ",),
        # The point is asked for afterwards: from each of many beginnings, a search for
        # a point that is not there would go to the end.
        rf"eyJ{rich(6)}[A-Za-z0-9_-]{{14,}}(?:\.[A-Za-z0-9_-]*){{0,4}}",
        "https://www.rfc-editor.org/rfc/rfc7519",
        trace=r"yJ[g-zA-Z_-]{6}",
        check=lambda token: len(token.partition(".")[2]) >= 8,
    ),
    _token(
        "npm_token",
        "`npm_…`",
        "npm_",
        "[A-Za-z0-9]{36}",
        _LEAKS,
    ),
    _token(
        "pypi_token",
        "`pypi-…`",
        "pypi-",
        "[A-Za-z0-9_-]{50,}",
        _LEAKS,
    ),
    Rule(
        "sendgrid_key",
        "`SG.….…`",
        ("SG.",),
        r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
        _LEAKS,
    ),
    Rule(
        "twilio_key",
        "`SK…`",
        ("SK",),
        r"SK[0-9a-f]{32}(?![A-Za-z0-9])",
        _LEAKS,
        trace=r"SK(?![g-zA-Z])",
    ),
    Rule(
        "telegram_token",
        "`…:AA…`",
        (":AA",),
        r":AA(?<=[0-9]{5}:AA)[A-Za-z0-9_-]{32,}",
        _HOG + "telegrambottoken",
        before="0123456789",
        reach=16,
    ),
    _token(
        "shopify_token",
        "`shpat_…`, `shpss_…`, `shpca_…`, `shppa_…`",
        "shpat_ shpss_ shpca_ shppa_",
        "[A-Fa-f0-9]{32}",
        _LEAKS,
    ),
    _token(
        "digitalocean_token",
        "`dop_v1_…`, `doo_v1_…`, `dor_v1_…`",
        "dop_v1_ doo_v1_ dor_v1_",
        "[a-f0-9]{64}",
        _LEAKS,
    ),
    _token(
        "docker_token",
        "`dckr_pat_…`, `dckr_oat_…`",
        "dckr_pat_ dckr_oat_",
        "[A-Za-z0-9_-]{27,}",
        _HOG + "dockerhub",
    ),
    _token("linear_key", "`lin_api_…`", "lin_api_", "[A-Za-z0-9]{40}", _LEAKS),
    Rule(
        "grafana_token",
        "`glc_…`, `glsa_…`",
        ("glc_", "glsa_"),
        rf"gl(?:c|sa)_(?=[A-Za-z0-9]{{12}}){rich(6)}[A-Za-z0-9+/=_]{{32,}}",
        _LEAKS,
        trace=r"gls?_[g-zA-Z_-]{6}",
    ),
    _token(
        "vault_token", "`hvs.…`, `hvb.…`", "hvs. hvb.", "[A-Za-z0-9_-]{60,}", _LEAKS
    ),
    _token("postman_key", "`PMAK-…`", "PMAK-", "[a-f0-9]{24}-[a-f0-9]{34}", _LEAKS),
    _token("newrelic_key", "`NRAK-…`", "NRAK-", "[A-Za-z0-9]{27}", _LEAKS),
    _token(
        "atlassian_token",
        "`ATATT3…`",
        "ATATT3",
        "(?=[A-Za-z0-9_-]{10})[A-Za-z0-9_=-]{60,}",
        _LEAKS,
    ),
)

__all__ = ["TOKENS"]
