import base64

from cht_sync.redaction import without_secrets


def test_each_form_of_a_secret_is_hidden():
    encoded = base64.b64encode(b"t0ken:").decode()
    said = without_secrets(f"a t0ken, {encoded}, https://other:pw@h/x and https://h/y", ["t0ken"])
    assert said == "a ***, ***, https://***@h/x and https://h/y"
