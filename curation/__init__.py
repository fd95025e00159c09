"""curation: raw pages to a domain corpus, with a reason for every document that is dropped."""
