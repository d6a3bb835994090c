package audit

// EntryQuery is what an audit asks for each account.
const EntryQuery = auditQuery
