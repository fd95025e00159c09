"""Web pages in whatever form they lie: crawls as WARC files, or folders of HTML."""

from __future__ import annotations

from curation.errors import RecipeError
from curation.sources.files import expand, with_compression
from curation.sources.text import TextFiles
from curation.sources.warc import Warc

#: Parts of a file name that tell a crawl from a page, such as CC-MAIN-00000.warc.gz.
CRAWL = {"warc", "wet", "wat", "arc"}


def web_source(paths: str) -> Warc | TextFiles:
    """Return the source for a pattern of files: Warc for crawls, TextFiles for pages.

    raises  RecipeError where the pattern matches both
    """
    return Warc(paths) if _is_crawl(paths) else TextFiles(paths)


def _is_crawl(paths: str) -> bool:
    """Tell WARC files from pages by name."""
    plain = with_compression(TextFiles.endings)
    endings = (*with_compression(Warc.endings), *plain)
    names = [span.name.lower() for span in expand((paths,), endings=endings, reader="web_source")]
    crawls = [n for n in names if not n.endswith(plain) and CRAWL & set(n.split(".")[1:])]
    if 0 < len(crawls) < len(names):
        raise RecipeError(
            f"'{paths}' matches WARC files and other files.",
            crawls=f"{len(crawls)}, such as {crawls[0]}",
            others=f"{len(names) - len(crawls)}, such as {min(set(names) - set(crawls))}",
            remedy="give a pattern for each and run twice: --paths 'crawl/*.warc.gz'",
        )
    return bool(crawls)
