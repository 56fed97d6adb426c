"""Templates: what they print is escaped, what they miss is an error."""

import jinja2
import pytest

from lsgm.reports.templates import render


def test_values_are_escaped():
    text = render("base.html", title="<b> & 'x'", subtitle='"y"')
    assert "<title>&lt;b&gt; &amp; &#39;x&#39;</title>" in text
    assert "<p>&#34;y&#34;</p>" in text


def test_a_missing_value_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="subtitle"):
        render("base.html", title="Digits")


def test_a_missing_template_is_an_error():
    with pytest.raises(jinja2.TemplateNotFound, match="nowhere.html"):
        render("nowhere.html")
