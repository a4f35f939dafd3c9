"""Packaging, driven by settings.ini. The notebooks and the params travel with the wheel, so that
`voc_cv run` works without a clone."""

from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

here = Path(__file__).parent
parser = ConfigParser(delimiters=['='])
parser.read(here / 'settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']
extras = {
    name: cfg[f'{name}_requirements'].split()
    for name in ('tensorflow', 'cpu', 'torch', 'cluster', 'dev')
}
extras['all'] = extras['tensorflow'] + extras['torch']

setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    keywords=cfg['keywords'],
    author=cfg['author'],
    author_email=cfg['author_email'],
    url=cfg['git_url'],
    license='Apache-2.0',
    long_description=(here / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    packages=['voc_cv'],
    package_data={'voc_cv': ['imagenet_classes.txt', 'templates/*']},
    data_files=[
        (
            f'share/voc_cv/{folder}',
            sorted(str(p.relative_to(here)) for p in (here / folder).glob(pattern)),
        )
        for folder, pattern in (
            ('nbs', '0*.ipynb'),
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
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Science/Research',
        'Intended Audience :: Education',
        'Natural Language :: English',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in (11, 12, 13)),
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)
