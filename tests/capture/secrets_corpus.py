"""
Secrets of every known form, all made up, and things that look like them and are none.

Each is put together from pieces, so that no scanner of repositories takes this file for
a leak.
"""

from __future__ import annotations

import base64
import hashlib
import random
import string
import uuid
from typing import Final, NamedTuple

_RANDOM = random.Random(20260324)
_WORD = string.ascii_letters + string.digits
_URL = _WORD + "-_"
_HEX = "0123456789abcdef"


def some(count: int, alphabet: str = _WORD) -> str:
    """Return *count* characters by chance, the same in each run."""
    return "".join(_RANDOM.choices(alphabet, k=count))


def b64url(text: str) -> str:
    """Return *text* in Base64 as in a JWT."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


class Secret(NamedTuple):
    """A text that holds a secret."""

    rule: str
    """Which one knows it."""
    text: str
    """With what tells that it is one, such as its name."""
    secret: str
    """What must not be seen."""


def _bare(rule: str, *pieces: str) -> Secret:
    text = "".join(pieces)
    return Secret(rule, text, text)


def _named(
    before: str, secret: str, after: str = "", rule: str = "named_secret"
) -> Secret:
    return Secret(rule, before + secret + after, secret)


_PEM = "\n".join(some(64, _WORD + "+/") for _ in range(4))
_DASHES = "-" * 5

SECRETS: Final[tuple[Secret, ...]] = (
    _bare("openai_key", "s", "k-", some(20), "T3Blbk", "FJ", some(20)),
    _bare("openai_key", "s", "k-proj-", some(74, _URL), "T3Blbk", "FJ", some(74, _URL)),
    _bare("openai_key", "s", "k-svcacct-", some(58, _URL)),
    _bare("openai_key", "s", "k-admin-", some(58, _URL)),
    _bare("openai_key", "s", "k-", some(32, _HEX)),  # DeepSeek
    _bare("openai_key", "s", "k-", some(48, string.digits)),
    _bare("openai_key", "s", "k-or-v1-", some(64, _HEX)),
    _bare("openai_key", "s", "k-lf-", str(uuid.UUID(int=_RANDOM.getrandbits(128)))),
    _bare("openai_session", "se", "ss-", some(40)),
    _bare("anthropic_key", "s", "k-ant-api03-", some(93, _URL), "AA"),
    _bare("anthropic_key", "s", "k-ant-admin01-", some(93, _URL), "AA"),
    _bare("anthropic_key", "s", "k-ant-oat01-", some(93, _URL), "AA"),
    _bare("google_api_key", "AI", "za", some(35, _URL)),
    _bare("google_api_key", "AI", "zaSy", "-" * 10, some(23, _URL)),
    _bare("google_token", "ya", "29.", some(100)),
    _bare("google_oauth_secret", "GOC", "SPX-", some(28, _URL)),
    _bare("aws_access_key", "AK", "IA", some(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")),
    _bare("aws_access_key", "AS", "IA", some(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")),
    _named("aws_secret_access_key=", some(40, _WORD + "/+")),
    _named('"SecretAccessKey": "', some(40, _WORD + "/+"), '"'),
    _bare("azure_client_secret", some(3), "8", "Q", "~", some(34, _WORD + "~._-")),
    _named(
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=",
        some(86, _WORD + "+/") + "==",
        ";EndpointSuffix=core.windows.net",
    ),
    _named(
        "https://a.blob.core.windows.net/c?sv=2022-11-02&sp=r&sig=",
        some(43, _WORD) + "%3D",
        "&se=2026-03-24",
    ),
    _named("Endpoint=sb://a/;SharedAccessKey=", some(43, _WORD) + "="),
    _named("api-key: ", some(32, _HEX)),  # Azure OpenAI
    _named("api-key: ", some(84)),
    _bare("github_token", "gh", "p_", some(36)),
    _bare("github_token", "gh", "o_", some(36)),
    _bare("github_token", "gh", "s_", some(36)),
    _bare("github_token", "gh", "r_", some(76)),
    _bare("github_pat", "git", "hub_pat_", some(22), "_", some(59)),
    _bare("gitlab_token", "gl", "pat-", some(20, _URL)),
    _bare("slack_token", "xo", "xb-", some(12, string.digits), "-", some(24)),
    _bare(
        "slack_token",
        "xo",
        "xp-",
        "-".join(some(12, string.digits) for _ in range(3)),
        "-",
        some(32, _HEX),
    ),
    _bare("slack_token", "xa", "pp-1-A0", some(9), "-", some(13, string.digits), "-a"),
    _named(
        "https://hooks.slack" + ".com/services/",
        f"T{some(10)}/B{some(10)}/{some(24)}",
        rule="slack_webhook",
    ),
    _bare("stripe_key", "s", "k_live_", some(24)),
    _bare("stripe_key", "r", "k_test_", some(99)),
    _bare("stripe_webhook", "wh", "sec_", some(32)),
    _bare("huggingface_token", "h", "f_", some(34, string.ascii_letters)),
    _bare("huggingface_token", "h", "f_", some(34)),
    _bare("replicate_token", "r", "8_", some(37)),
    _bare("groq_key", "gs", "k_", some(52)),
    _bare("xai_key", "xa", "i-", some(80)),
    _bare("perplexity_key", "pp", "lx-", some(48)),
    _bare("nvidia_key", "nva", "pi-", some(64, _URL)),
    _bare("elevenlabs_key", "s", "k_", some(48, _HEX)),
    _bare("langsmith_key", "lsv", "2_pt_", some(32, _HEX), "_", some(10, _HEX)),
    _bare(
        "jwt",
        b64url('{"alg":"HS256","typ":"JWT"}'),
        ".",
        b64url('{"sub":"1234567890","name":"J"}'),
        ".",
        some(43, _URL),
    ),
    _bare("jwt", b64url('{"alg":"none"}'), ".", b64url('{"sub":"12345"}'), "."),
    _bare("npm_token", "np", "m_", some(36)),
    _bare("pypi_token", "py", "pi-AgEIcHlwaS5vcmc", some(150, _URL)),
    _bare("sendgrid_key", "S", "G.", some(22, _URL), ".", some(43, _URL)),
    _bare("twilio_key", "S", "K", some(32, _HEX)),
    _bare("telegram_token", some(10, string.digits), ":A", "A", some(33, _URL)),
    _bare("shopify_token", "shp", "at_", some(32, _HEX)),
    _bare("digitalocean_token", "do", "p_v1_", some(64, _HEX)),
    _bare("docker_token", "dck", "r_pat_", some(27, _URL)),
    _bare("linear_key", "lin", "_api_", some(40)),
    _bare("grafana_token", "gl", "sa_", some(32), "_", some(8, _HEX)),
    _bare("vault_token", "hv", "s.", some(95, _URL)),
    _bare("postman_key", "PM", "AK-", some(24, _HEX), "-", some(34, _HEX)),
    _bare("newrelic_key", "NR", "AK-", some(27, string.ascii_uppercase)),
    _bare("atlassian_token", "ATA", "TT3", some(180, _URL)),
    _bare(
        "private_key",
        f"{_DASHES}BEGIN RSA PRIV",
        f"ATE KEY{_DASHES}\n{_PEM}\n{_DASHES}END RSA PRIVATE KEY{_DASHES}",
    ),
    _bare("private_key", f"{_DASHES}BEGIN PRIV", f"ATE KEY{_DASHES}\n{_PEM}"),
    _named("Authorization: Bearer ", some(20), rule="bearer_token"),
    _named("bearer ", "correct-horse-7", rule="bearer_token"),
    _named("BEARER ", some(40), rule="bearer_token"),
    _named(
        "Authorization: Basic ",
        base64.b64encode(b"Aladdin:open sesame").decode(),
        rule="basic_auth",
    ),
    _named("Authorization: ", "Token abc, realm=xyz"),
    _named("{'Authorization': 'ApiKey ", some(12), "'}"),
    _named("https://maps.example/api?key=", some(20), "&v=3"),
    _named("https://api.example/v1?page=2&access_token=", some(16)),
    _named("password=", "hunter2", " host=db"),
    _named("Passwd: ", "hunter2"),
    _named("PGPASSWORD='", "correct horse", "' psql"),
    _named('{"db_password": "', 'a\\"b', '"}'),
    _named('{\\"client_secret\\": \\"', some(12), '\\"}'),
    _named("X-API-Key:", some(9)),
    _named("OPENAI_API_KEY = ", some(9)),
    _named("refresh_token=", some(9) + "1"),
    _named("Cookie: ", f"sid={some(12)}; theme=dark"),
    _named("Set-Cookie: ", f"sid={some(12)}; HttpOnly"),
    _named("jdbc:mysql://h/d?user=u&password=", "hunter3", ""),
    _named("postgres://user:", "p@ss", "@db:5432/x", rule="url_password"),
    _named("redis://:", "hunter2", "@cache:6379/0", rule="url_password"),
    _named("https://u:", "s3cr%21t", "@example.org/", rule="url_password"),
    _named("Server=s;Uid=u;Pwd=", "hunter2", ";"),
    _bare("google_token", "ya", "29.a0AfB_by", some(60, _URL)),
    _bare("google_token", "ya", "29.c.b0Aaekm1K-M5z", some(60, _URL)),
    _named('{"password": "a\\"', "the-rest-1", '", "user": "u"}'),
    _named("{'password': 'a\\'\"", "the-rest-2", "', 'user': 'u'}"),
    _named('{\\"password\\": \\"a\\\\\\"', "the-rest-3", '\\"}'),
    _named('password="C:\\\\', "the-rest-4", '\\\\" user="u"'),
    _named("%7B%22password%22%3A%22", "hunter4", "%22%7D"),
    _named("?next=https%3A%2F%2Fh%2F%3Fpassword%3D", "hunter5"),
    _named("[('accept', '*/*'), ('cookie', 's=", "hunter6", "')]"),
    _named("[(b'x-api-key', b'", "hunter7", "'), (b'accept', b'*/*')]"),
    _named('{"secrets": [{"b": 1}, {"c": [2, "', "hunter8", '"]}]}'),
    _named("password=SecretStr('", "hunter9", "')"),
    _named('Authorization: Digest username="u", response="', some(32, _HEX), '"'),
    _named('Authorization: Token token="', "hunter10", '"'),
    _named("AZURE_OPENAI_KEY=", some(32, _HEX)),
    _named("openai-key: ", some(32, _HEX)),
    _named("mysql -u root --password ", "hunter11", " db", rule="option_secret"),
    _named("app --api-key ", some(9), rule="option_secret"),
    _named("$ deploy --GitHub-Token  ", "swordfish", " now", rule="option_secret"),
    _named("--db-password '", "correct horse", "'", rule="option_secret"),
    _named("Command '['x', '--token', '", "hunter12", "']'", rule="option_secret"),
    _named('["--client-secret", "', some(9), '"]', rule="option_secret"),
    _named(r"run 'app\t--token\t", "hunter13", "'", rule="option_secret"),
    _named("restore --secret-access-key ", some(40), ", then", rule="option_secret"),
    _named("AZURE_OPENAI_KEY_2=", "hunter14"),
    _named('{"password1": "', "hunter15", '"}'),
    _named("client_secret-12: ", "hunter16"),
    _named('[{"name": "DB_PASSWORD", "value": "', "hunter17", '"}]'),
    _named('{"key":"x-api-key","value":"', "hunter18", '"}'),
    _named("Cookie: theme=dark; PGPASSWORD='", "hunter 19", "' psql"),
    _named("Cookie: a=b; password=SecretStr('", "hunter21", "')"),
    _named("Set-Cookie: a=b; password: '", "hunter 20", "' and more"),
    _named('{"password_hash": "', "$2b$12$abcdefghijklmnopqrstuu", '"}'),
    _named("passwordHash=", "5f4dcc3b5aa765d61d8327deb882cf99"),
    _named("user.password-digest: ", "hunter22"),
    _named("pass_hash=", "hunter23"),
    _named("dbpass=", "hunter24", " dbhost=h"),
    _named('{"smtpPass": "', "hunter25", '"}'),
    _named("ADMINPASS=", "hunter26"),
)

HARMLESS: Final[tuple[str, ...]] = (
    str(uuid.UUID(int=_RANDOM.getrandbits(128))),
    uuid.UUID(int=_RANDOM.getrandbits(128)).hex,
    hashlib.sha1(b"commit", usedforsecurity=False).hexdigest(),
    hashlib.sha256(b"image").hexdigest(),
    "sha256:" + hashlib.sha256(b"layer").hexdigest(),
    "iVBORw0KGgoAAAANSUhEUg" + some(200, _WORD + "+/"),
    "data:image/png;base64,iVBORw0KGgo" + some(100, _WORD + "+/"),
    "gpt-4o-mini-2024-07-18",
    "claude-3-5-sonnet-20241022",
    "anthropic.claude-3-haiku-20240307-v1:0",
    "meta-llama/Llama-3.1-70B-Instruct-Turbo",
    "text-embedding-3-large",
    "ft:gpt-3.5-turbo-0125:acme::9aBcDeFg",
    "req_" + some(24),
    "req_011CSHoEeqs5C35K2UUqR7Fy",
    "chatcmpl-" + some(29),
    "msg_01" + some(22),
    "org-" + some(24),
    "resp_" + some(48, _HEX),
    "toolu_01" + some(22),
    "00-" + some(32, _HEX) + "-" + some(16, _HEX) + "-01",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "sk-learn",
    "sk-learn-contrib-something-longer-than-a-key",
    "task-" + some(32, _HEX),
    "disk-" + some(20),
    "risk-assessment-of-the-second-quarter",
    "/usr/lib/python3.11/site-packages/openai/_base_client.py",
    "C:\\Users\\someone\\AppData\\Local\\Temp\\file.txt",
    "arn:aws:iam::123456789012:role/service-role/my-lambda-role",
    "s3://bucket/prefix/2026/03/24/part-00000.snappy.parquet",
    "https://api.openai.com/v1/chat/completions",
    "https://example.com/path?page=2&limit=50&sort=created",
    "https://example.com:8443/a@b",
    "someone@example.com",
    "http://localhost:8080/healthz",
    "max_tokens=4096",
    "input_tokens: 1024, output_tokens: 256",
    '{"prompt_tokens": 12, "total_tokens": 30}',
    "This model's maximum context length is 8192 tokens",
    "Unexpected token: else",
    "Unexpected token '<', \"<!DOCTYPE \"... is not valid JSON",
    "next token: 4711",
    "KeyError: 'model'",
    "foreign_key=user_id",
    "cache_key=completion:v2:1024",
    "primary key: id",
    "idempotency_key=7",
    "Error code: 429 - rate limit reached",
    "AuthenticationError: 401 Unauthorized",
    "Bearer authentication required",
    'WWW-Authenticate: Bearer realm="example"',
    "Basic authentication is not supported",
    "basic english words only",
    "author: Someone Else",
    "authority=example.com",
    "password=None",
    'password: ""',
    "token=%s",
    "password: ********",
    "the password is wrong",
    "secretary of state",
    "passenger=42",
    "compass: north",
    "user_identification_number_of_the_customer",
    "half_finished_implementations_are_bad",
    "skeleton_key_of_something_completely_different",
    "eyJhIjoxfQ",
    "AKIA is how the ids of AWS begin",
    "-----BEGIN CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----",
    "ghp_ and github_pat_ are prefixes",
    "2026-03-24T17:35:22.123456Z",
    "1711302922123456789",
    "SELECT * FROM users WHERE id = 7",
    "no such file or directory: 'secrets.yaml'",
    "<built-in function len>",
    "SKU1234567890",
    "signature mismatch: expected 2 arguments",
    "eos_token='</s>', pad_token=\"<pad>\"",
    "stop_token: '<|im_end|>'",
    "mask_token='[MASK]'",
    "max_tokens=4096, prompt_tokens=12345678",
    "('api_key', 'must be set')",
    "fields ['password', 'email', 'name']",
    "[('body', 'password'), 'field required']",
    "os.getenv('API_KEY', 'unset')",
    "req_011CSHoEeqs5C35K2UUqR7Fy",
    "msg_01XFDUDYJgAACzvnptvVoYEL",
    "resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b",
    "my_factory.make_something_long_from_it",
    "next_token='eyJ2IjoxfQ0a1b2c3'",
    "nextPageToken: CAUQAA0a1b2c3",
    '{"NextToken": "AAAA0a1b2c3", "continuationToken": "x7Y8z9A0"}',
    "aws s3api list-objects --starting-token a1b2c3d4e5",
    "--password is required",
    "use --token to log in, or --api-key instead",
    "--password, --user",
    "--max-tokens 4096 --token-limit 5 --token 5",
    "docker login --username x --password-stdin",
    "--password-file /run/secrets/db --token-url https://example.com",
    "--password $PGPASSWORD --token <token> --secret ...",
    "usage: app [--password] [--token] name",
    "parser.add_argument('--token', help='which')",
    "---- password reset ----",
    "pass_1: ok, pass2: 3 ms",
    "max_token_2=5 and key_1=model",
    '{"name": "password", "value": ""}',
    '{"name": "model", "value": "gpt-4"}, {"name": "password", "type": "str"}',
    "passwd_file=/run/secrets/db dbpass_file=/run/secrets/db",
    "password_count=3, password_hash_rounds=12, passwordHashAlgorithm: bcrypt",
    "TypeError: password_hash() missing 1 required positional argument",
    "bypass=1 trespass: no overpass=2 dbpassed: 3 encompass=4 cbypass=5",
    "hash: 5f4dcc3b5aa765d61d8327deb882cf99, digest=sha256:0a1b2c",
)

__all__ = ["HARMLESS", "SECRETS", "Secret", "b64url", "some"]
