package check

func pod(name string) string {
	return `{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":"` + name + `","labels":{"app":"bootcamp"}},` +
		`"status":{"conditions":[{"type":"Ready","status":"True"}]}}`
}
