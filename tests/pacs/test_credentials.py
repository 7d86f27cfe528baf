import pytest
import requests

from mgmt_monai.pacs.credentials import PASSWORD, TOKEN, USER, credentials
from mgmt_monai.pacs.errors import PacsError

SECRET = "planted-secret"


def header(environment: dict[str, str]) -> str:
    """What is sent to an archive."""
    request = requests.Request("GET", "https://archive.example/", auth=credentials(environment)).prepare()
    return request.headers["Authorization"]


def test_user_and_password_are_sent_as_basic_authentication() -> None:
    # the example of RFC 7617 section 2
    assert header({USER: "Aladdin", PASSWORD: "open sesame"}) == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


def test_password_of_other_letters_is_sent_as_utf_8() -> None:
    # the example of RFC 7617 section 2.1: test and 123£
    assert header({USER: "test", PASSWORD: "123\N{POUND SIGN}"}) == "Basic dGVzdDoxMjPCow=="


def test_token_is_sent_as_bearer_without_the_space_around_it() -> None:
    assert header({TOKEN: "mF_9.B5f-4.1JqM\n"}) == "Bearer mF_9.B5f-4.1JqM"  # the token of RFC 6750 section 2.1


@pytest.mark.parametrize("environment", [{}, {USER: "", PASSWORD: "", TOKEN: ""}], ids=["unset", "empty"])
def test_nothing_is_left_to_the_netrc(environment: dict[str, str]) -> None:
    assert credentials(environment) is None


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        pytest.param({USER: "reader"}, f"found {USER} alone", id="no password"),
        pytest.param({PASSWORD: SECRET}, f"found {PASSWORD} alone", id="no user"),
        pytest.param({TOKEN: SECRET, USER: "reader", PASSWORD: SECRET}, "found both", id="both"),
        pytest.param({TOKEN: f"{SECRET}\r\nHost: evil"}, "expected a bearer token", id="token of two lines"),
        pytest.param({TOKEN: f"Bearer {SECRET}"}, "expected a bearer token", id="token with its kind"),
        pytest.param({USER: "a:b", PASSWORD: SECRET}, "without a colon", id="colon"),
    ],
)
def test_others_are_refused_without_being_told(environment: dict[str, str], expected: str) -> None:
    with pytest.raises(PacsError, match=expected) as refused:
        credentials(environment)

    assert SECRET not in str(refused.value)


def test_token_is_not_in_the_text_of_its_object() -> None:
    assert SECRET not in repr(credentials({TOKEN: SECRET}))
