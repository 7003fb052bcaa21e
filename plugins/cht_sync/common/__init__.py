"""What every folder may use: threads, retries, texts. It knows nothing of CHT, CouchDB or Postgres."""
