"""Nearest neighbours among the vectors that Redis holds, for `retrieve_online_documents_v2`."""
