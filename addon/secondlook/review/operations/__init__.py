"""What the review can show and do, as data: one set of operations under the pages and the API."""
