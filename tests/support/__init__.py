"""What tests share: searches, stores, hosts and pages to look at."""
