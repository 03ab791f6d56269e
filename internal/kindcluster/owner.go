package kindcluster

// Owned tells whether all of these nodes were made by the stack with this claim.
// No nodes are nobody's.
func Owned(found []Container, claim string) bool {
	return claim != "" && allMarked(found, claimPath(claim))
}
