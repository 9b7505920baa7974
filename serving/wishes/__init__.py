"""What the words of a query name: values of columns, people, years, and what is refused."""
