"""The pages: what each shows of the operations, and the templates' environment."""
