"""What Sphinx needs to know; the pages beside this file are made by build.py."""

project = 'voc_cv'
author = 'the voc_cv authors'
copyright = '2026, the voc_cv authors'
extensions = ['myst_parser', 'sphinx_copybutton']
myst_enable_extensions = ['colon_fence']
myst_heading_anchors = 4
suppress_warnings = ['myst.header', 'misc.highlighting_failure']
html_theme = 'furo'
html_title = 'voc_cv'
html_favicon = '_static/favicon.svg'
html_css_files = ['site.css']
html_static_path = ['_static']
templates_path = ['_templates']
html_show_sphinx = False
html_copy_source = False
pygments_style = 'default'  # unlike friendly, each colour stands out enough
pygments_dark_style = 'monokai'
toc_object_entries_show_parents = 'hide'
python_display_short_literal_types = True
python_maximum_signature_line_length = 80
html_theme_options = {
    'source_repository': 'https://github.com/voc-cv/voc_cv/',
    'source_branch': 'main',
    'top_of_page_buttons': [],
    'footer_icons': [],
}


def mark_short_words(app, doctree):
    "Code of a word or two in a text is not broken, for a line must not end after --."
    from docutils import nodes
    for word in doctree.findall(nodes.literal):
        if len(word.astext()) <= 18: word['classes'].append('short')


def setup(app):
    app.connect('doctree-read', mark_short_words)
