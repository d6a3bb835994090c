package sqlstore

// upgrades holds the statements that lead from each version to the next. A
// step is never changed once released. Words in braces are filled in by the
// dialect, so that both engines share one text.
//
// Every mail table leads with the account, so that it can be spread by
// account. In SQLite email and blob are clustered on their rising id alone:
// a delivery then touches the end of the table instead of a page for every
// account, which is worth a factor of three in write-ahead log.
var upgrades = [][]string{{
	`CREATE TABLE state (name TEXT PRIMARY KEY, value {int} NOT NULL) {clustered}`,
	`INSERT INTO state VALUES ('batch', 0), ('account', 0), ('id', 0)`,
	`CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) {clustered}`,
	`CREATE TABLE domain (name TEXT PRIMARY KEY, main {int} NOT NULL, created {int} NOT NULL)
		{clustered}`,
	`CREATE TABLE account (id {id}, address TEXT NOT NULL UNIQUE, domain TEXT NOT NULL,
		full_name TEXT NOT NULL, enabled {int} NOT NULL, login {int} NOT NULL,
		quota {int} NOT NULL, apop {int} NOT NULL, volume {int} NOT NULL,
		version {int} NOT NULL, notify TEXT NOT NULL,
		created {int} NOT NULL, changed {int} NOT NULL)`,
	`CREATE INDEX account_domain ON account (domain, address)`,
	`CREATE TABLE credential (account {int} NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
		data {blob} NOT NULL, created {int} NOT NULL,
		PRIMARY KEY (account, kind, name)) {clustered}`,
	`CREATE TABLE drop_usage (account {id}, modseq {int} NOT NULL, messages {int} NOT NULL,
		bytes {int} NOT NULL)`,
	`CREATE TABLE mailbox (account {int} NOT NULL, id {int} NOT NULL, name TEXT NOT NULL,
		uidvalidity {int} NOT NULL, uidnext {int} NOT NULL, modseq {int} NOT NULL,
		messages {int} NOT NULL, unseen {int} NOT NULL, bytes {int} NOT NULL,
		fetched {int} NOT NULL DEFAULT 0, PRIMARY KEY (account, id)) {clustered}`,
	`CREATE UNIQUE INDEX mailbox_name ON mailbox (account, name)`,
	`CREATE TABLE blob (id {id}, volume {int} NOT NULL, place {int} NOT NULL,
		size {int} NOT NULL, sum {int} NOT NULL)`,
	`CREATE INDEX blob_volume ON blob (volume)`,
	`CREATE TABLE email (id {emailid}, account {int} NOT NULL, blob {int} NOT NULL,
		refs {int} NOT NULL, thread {int} NOT NULL, received {int} NOT NULL,
		sent {int} NOT NULL, size {int} NOT NULL, modseq {int} NOT NULL,
		prefix {blob} NOT NULL, format {int} NOT NULL, parsed {blob} {emailkey})`,
	`CREATE INDEX email_shared ON email (blob) WHERE blob <> id`,
	`CREATE TABLE entry (account {int} NOT NULL, mailbox {int} NOT NULL, uid {int} NOT NULL,
		email {int} NOT NULL, size {int} NOT NULL, flags {int} NOT NULL, modseq {int} NOT NULL,
		created {int} NOT NULL, saved {int} NOT NULL, keywords TEXT,
		PRIMARY KEY (account, mailbox, uid)) {clustered}`,
	`CREATE TABLE tombstone (account {int} NOT NULL, modseq {int} NOT NULL,
		mailbox {int} NOT NULL, uid {int} NOT NULL, email {int} NOT NULL,
		PRIMARY KEY (account, modseq, mailbox, uid)) {clustered}`,
	`CREATE TABLE orphan (blob {id}, since {int} NOT NULL)`,
	`CREATE TABLE purge (account {id})`,
	`CREATE TABLE lease (name TEXT PRIMARY KEY, owner TEXT NOT NULL, until {int} NOT NULL)
		{clustered}`,
	`CREATE TABLE trace (id {id}, time {int} NOT NULL, data {blob} NOT NULL)`,
}, {
	`CREATE TABLE pending (blob {int} NOT NULL, part {int} NOT NULL, due {int} NOT NULL,
		trace {int} NOT NULL, last {int} NOT NULL, data {blob} NOT NULL,
		PRIMARY KEY (blob, part)) {clustered}`,
	`CREATE INDEX pending_due ON pending (due)`,
	`CREATE TABLE staged_job (id {id}, decided {int} NOT NULL)`,
	`CREATE TABLE staged (job {int} NOT NULL, seq {int} NOT NULL, data {blob} NOT NULL,
		PRIMARY KEY (job, seq)) {clustered}`,
}, {
	`INSERT INTO state VALUES ('generation', 0)`,
}}
