"""Packaging, driven by settings.ini. The notebooks and the params travel with the wheel, so that
`voc_cv run` works without a clone."""

import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

here = Path(__file__).parent
parser = ConfigParser(delimiters=['='])
parser.read(here / 'settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']
source = cfg['git_url']
extras = {
    name: cfg[f'{name}_requirements'].split()
    for name in ('tensorflow', 'cpu', 'torch', 'onnx', 'lite2', 'cluster', 'dev')
}
extras['all'] = extras['tensorflow'] + extras['torch']
statuses = {'3': '3 - Alpha', '4': '4 - Beta', '5': '5 - Production/Stable'}


def readme() -> str:
    "The README, its pictures and links as addresses: elsewhere no docs/ lies beside it."
    text = (here / 'README.md').read_text(encoding='utf-8')
    raw = source.replace('github.com', 'raw.githubusercontent.com') + f'/{cfg["branch"]}/'
    page = f'{source}/blob/{cfg["branch"]}/'
    here_only = r'(?!https?:|mailto:|#|/|data:)'
    text = re.sub(rf'(!\[[^]]*\]\(){here_only}', rf'\g<1>{raw}', text)
    text = re.sub(rf'(<(?:img|source)\b[^>]*?\bsrc(?:set)?="){here_only}', rf'\g<1>{raw}', text)
    text = re.sub(rf'(<a\b[^>]*?\bhref="){here_only}', rf'\g<1>{page}', text)
    words = r'(?:[^][]|!\[[^]]*\]\([^)]*\))*'  # of a link; a badge is a picture in them
    return re.sub(rf'((?<!!)\[{words}\]\(){here_only}', rf'\g<1>{page}', text)


setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    keywords=cfg['keywords'].split(),
    author=cfg['author'],
    author_email=cfg['author_email'],
    url=source,
    project_urls={
        'Source': source,
        'Documentation': cfg['doc_host'] + cfg['doc_baseurl'],
        'Changelog': f'{source}/blob/{cfg["branch"]}/CHANGELOG.md',
        'Issues': f'{source}/issues',
    },
    license_expression='Apache-2.0',
    license_files=['LICENSE'],
    long_description=readme(),
    long_description_content_type='text/markdown',
    packages=['voc_cv'],
    package_data={'voc_cv': ['imagenet_classes.txt', 'templates/*']},
    data_files=[
        (
            f'share/voc_cv/{folder}',
            sorted(p.relative_to(here).as_posix() for p in (here / folder).glob(pattern)),
        )
        for folder, pattern in (
            ('nbs', '0[0-6]*.ipynb'),
            ('params', '*.yaml'),
            ('params/sweeps', '*.yaml'),
        )
    ],
    python_requires=f'>={cfg["min_python"]}',
    install_requires=cfg['requirements'].split(),
    extras_require=extras,
    entry_points={'console_scripts': cfg['console_scripts'].split()},
    zip_safe=False,
    classifiers=[
        f'Development Status :: {statuses[cfg["status"]]}',
        'Environment :: Console',
        'Environment :: GPU',
        'Framework :: Jupyter',
        'Intended Audience :: Developers',
        'Intended Audience :: Education',
        'Intended Audience :: Science/Research',
        'Natural Language :: English',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3 :: Only',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in (11, 12, 13)),
        'Topic :: Education',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Processing',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)
