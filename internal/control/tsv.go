package control

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"postrider/internal/mail"
)

// The account table is that of SIMS Loader: text with one account a line,
// its columns separated by TAB, their names in the first line. The names are
// those of SIMS and of MailShare, in any case.
//
// The other form is that of EIMS: no first line, and fixed columns.

// A column is one that we understand.
type column uint8

const (
	colName column = iota
	colFullName
	colPassword
	colEnabled
	colLogin
	colSize
	colAPOP
	colNotifyMode
	colNotifyAddress
	colQuotaBytes
	colAPOPMode
	colVolume
	colFlags // of EIMS
	colUnknown
)

var columnNames = map[string]column{
	"username":       colName,
	"account":        colName,
	"fullname":       colFullName,
	"realname":       colFullName,
	"password":       colPassword,
	"accountenabled": colEnabled,
	"loginenabled":   colLogin,
	"sizelimit":      colSize,
	"apoprequired":   colAPOP,
	"notifymode":     colNotifyMode,
	"forwardmode":    colNotifyMode,
	"notifyaddress":  colNotifyAddress,
	"forwardaddress": colNotifyAddress,

	// Ours, for what those above cannot say. Other programs pass over them.
	"quotabytes": colQuotaBytes,
	"apop":       colAPOPMode,
	"volume":     colVolume,
}

// exportHeader names the columns of an export.
const exportHeader = "UserName\tFullName\tAccountEnabled\tLoginEnabled\tSizeLimit\tAPOPrequired\t" +
	"NotifyMode\tNotifyAddress\tQuotaBytes\tAPOP\tVolume"

// The columns of EIMS's export; what follows them is of no use here.
var eimsColumns = []column{colName, colFullName, colPassword, colSize, colFlags, colNotifyAddress}

// Limits of a table.
const (
	maxTableLines   = 1_000_000
	maxTableColumns = 100
	maxTableLine    = 16 << 10 // bytes
)

// A tableRow is one line of a table, understood.
type tableRow struct {
	line     int
	name     string
	password string
	remove   bool // EIMS: the word "delete" among the flags
	rounded  bool // the quota is known to a kilobyte only
	change   AccountChange
	notes    []string // what was passed over
	err      error
}

// A table is an account table, read.
type table struct {
	rows  []tableRow
	notes []string // about the table as a whole
}

// charsets are those of tables that are not UTF-8: the loaders ran on Macs,
// spreadsheets run on Windows.
var charsets = map[string]*charmap.Charmap{
	"macintosh": charmap.Macintosh,
	"latin1":    charmap.Windows1252, // which has all of it
}

var errNotUTF8 = mail.Errorf(mail.Invalid, "the table is not UTF-8; name its charset, which is "+
	"macintosh or latin1")

// DecodeTable gives the text of a table: UTF-8 where the charset is empty or
// "utf-8", else "macintosh" or "latin1". Kind Invalid says that it is not what
// it should be, or that the charset is unknown.
func DecodeTable(content []byte, charset string) (string, error) {
	charset = strings.ToLower(charset)
	if charset == "" || charset == "utf-8" {
		if !utf8.Valid(content) {
			return "", errNotUTF8
		}
		return string(content), nil
	}
	m, ok := charsets[charset]
	if !ok {
		return "", mail.Errorf(mail.Invalid,
			fmt.Sprintf("charset %q: want utf-8, macintosh or latin1", Short(charset)))
	}
	text, err := m.NewDecoder().Bytes(content)
	return string(text), err
}

// parseTable reads a table; eims says which form it has. The error is of kind
// Invalid and concerns the whole; what is wrong with a line stands in its row.
func parseTable(content string, eims bool) (*table, error) {
	t := &table{}
	content = strings.TrimPrefix(content, "\ufeff")
	if !utf8.ValidString(content) {
		return nil, errNotUTF8
	}
	// A Mac ends its lines with CR, Unix with LF, DOS with both.
	content = strings.ReplaceAll(content, "\r\n", "\n")
	content = strings.ReplaceAll(content, "\r", "\n")
	lines := strings.Split(content, "\n")
	if len(lines) > maxTableLines {
		return nil, mail.Errorf(mail.Invalid, fmt.Sprintf("more than %d lines", maxTableLines))
	}
	columns, first := eimsColumns, 0
	if !eims {
		var err error
		if columns, first, err = t.header(lines); err != nil {
			return nil, err
		}
	}
	for i, text := range lines[first:] {
		if strings.TrimSpace(text) == "" {
			continue
		}
		row := tableRow{line: first + i + 1}
		if len(text) > maxTableLine {
			row.err = mail.Errorf(mail.Invalid, "the line is too long")
		} else {
			cells := strings.Split(text, "\t")
			row.read(columns, cells)
			if n := len(cells) - len(columns); n > 0 && !eims &&
				strings.TrimSpace(strings.Join(cells[len(columns):], "")) != "" {
				row.notes = append(row.notes, fmt.Sprintf("more cells than columns: the last %d ignored", n))
			}
		}
		t.rows = append(t.rows, row)
	}
	return t, nil
}

// header reads the names of the columns and gives the index of the line
// after them.
func (t *table) header(lines []string) (columns []column, first int, err error) {
	for first < len(lines) && strings.TrimSpace(lines[first]) == "" {
		first++
	}
	if first == len(lines) {
		return nil, 0, mail.Errorf(mail.Invalid, "the file is empty")
	}
	names := strings.Split(lines[first], "\t")
	if len(names) > maxTableColumns {
		return nil, 0, mail.Errorf(mail.Invalid, fmt.Sprintf("more than %d columns", maxTableColumns))
	}
	seen := map[column]string{}
	for _, name := range names {
		name = strings.TrimSpace(name)
		col, ok := columnNames[strings.ToLower(name)]
		if !ok {
			col = colUnknown
			if name != "" {
				t.notes = append(t.notes, fmt.Sprintf("the column %q is unknown and was ignored",
					Short(name)))
			}
		} else if other, twice := seen[col]; twice {
			return nil, 0, mail.Errorf(mail.Invalid,
				fmt.Sprintf("line %d: the columns %q and %q mean the same", first+1, Short(other), Short(name)))
		}
		if ok {
			seen[col] = name
		}
		columns = append(columns, col)
	}
	if _, ok := seen[colName]; !ok {
		return nil, 0, mail.Errorf(mail.Invalid, fmt.Sprintf("line %d: the first line names the "+
			"columns, and one of them must be UserName or Account, with TAB between them; "+
			"an export of EIMS without such a line needs --format eims", first+1))
	}
	return columns, first + 1, nil
}

// read understands the cells of a line. An empty cell is a missing attribute.
func (r *tableRow) read(columns []column, cells []string) {
	mode, address, flags := "", "", ""
	bytes, apop := "", ""
	for i, cell := range cells {
		if i >= len(columns) {
			break
		}
		text := strings.TrimSpace(cell)
		if text == "" {
			continue
		}
		var err error
		switch columns[i] {
		case colName:
			r.name = text
		case colFullName:
			r.change.FullName = &cell // with its blanks, as the export has it
		case colPassword:
			r.readPassword(cell)
		case colEnabled:
			r.change.Enabled, err = parseBoolean("AccountEnabled", text)
		case colLogin:
			r.change.Login, err = parseBoolean("LoginEnabled", text)
		case colSize:
			r.change.QuotaBytes, err = parseSizeLimit(text)
		case colAPOP:
			err = r.readAPOP(text)
		case colNotifyMode:
			mode = text
		case colNotifyAddress:
			address = text
		case colQuotaBytes:
			bytes = text
		case colAPOPMode:
			apop = text
		case colVolume:
			r.change.Volume, err = parseVolume(text)
		case colFlags:
			flags = text
		}
		if err != nil && r.err == nil {
			r.err = err
		}
	}
	if r.err != nil {
		return
	}
	if r.name == "" {
		r.err = mail.Errorf(mail.Invalid, "the user name is missing")
		return
	}
	if flags != "" {
		mode = r.readFlags(flags)
	}
	if r.err = r.readExact(bytes, apop); r.err == nil {
		r.err = r.readNotify(mode, address)
	}
}

// readExact understands our own columns. They say more exactly what
// SizeLimit and APOPrequired say as well; somebody may have changed only one
// of the two.
func (r *tableRow) readExact(bytes, apop string) error {
	size, required := r.change.QuotaBytes, r.change.APOP
	r.rounded = size != nil
	if bytes != "" {
		n, err := strconv.ParseInt(bytes, 10, 64)
		if err != nil || n < 0 {
			return mail.Errorf(mail.Invalid,
				fmt.Sprintf("QuotaBytes %q: want a number of bytes, or 0 for no limit", Short(bytes)))
		}
		if size != nil && max(sizeLimit(n), 0) != *size>>10 {
			return mail.Errorf(mail.Invalid, "SizeLimit and QuotaBytes contradict each other: empty one of them")
		}
		r.change.QuotaBytes, r.rounded = &n, false
	}
	if apop != "" {
		mode, err := parseAPOP(strings.ToLower(apop))
		if err != nil {
			return err
		}
		name := apopNames[mode]
		if required != nil && (*required == "required") != (name == "required") {
			return mail.Errorf(mail.Invalid, "APOPrequired and APOP contradict each other: empty one of them")
		}
		r.change.APOP = &name
	}
	return nil
}

// sizeLimit is a quota in kilobytes, as SizeLimit has it; -1 is no limit.
func sizeLimit(bytes int64) int64 {
	if bytes == 0 {
		return -1
	}
	return max(bytes>>10, 1)
}

func parseVolume(text string) (*int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return nil, mail.Errorf(mail.Invalid,
			fmt.Sprintf("Volume %q: want the number of a volume directory, from 0", Short(text)))
	}
	return &n, nil
}

// encryptedMark begins a password that MailShare's loader wrote encrypted.
const encryptedMark = "\x01"

func (r *tableRow) readPassword(cell string) {
	if strings.HasPrefix(cell, encryptedMark) {
		r.notes = append(r.notes, "the encrypted password was ignored")
		return
	}
	r.password = cell
}

// parseBoolean reads true and false; the other words are what people write.
func parseBoolean(name, text string) (*bool, error) {
	var b bool
	switch strings.ToLower(text) {
	case "true", "yes", "1":
		b = true
	case "false", "no", "0":
	default:
		return nil, mail.Errorf(mail.Invalid, fmt.Sprintf("%s %q: want true or false", name, Short(text)))
	}
	return &b, nil
}

// parseSizeLimit reads kilobytes; -1 and 0 are no limit.
func parseSizeLimit(text string) (*int64, error) {
	kb, err := strconv.ParseInt(text, 10, 64)
	if err != nil || kb < -1 || kb > 1<<50 {
		return nil, mail.Errorf(mail.Invalid,
			fmt.Sprintf("SizeLimit %q: want a number of kilobytes, or -1 for no limit", Short(text)))
	}
	bytes := max(kb, 0) << 10
	return &bytes, nil
}

func (r *tableRow) readAPOP(text string) error {
	b, err := parseBoolean("APOPrequired", text)
	if err != nil {
		return err
	}
	mode := "off"
	if *b {
		mode = "required"
	}
	r.change.APOP = &mode
	return nil
}

func (r *tableRow) readNotify(mode, address string) error {
	var notify string
	switch strings.ToLower(mode) {
	case "":
		if address != "" {
			r.notes = append(r.notes, "the address to notify was ignored: no mode is given")
		}
		return nil
	case "none":
		notify = "none"
	case "notify ip":
		notify = "last-ip"
	case "notify":
		if _, err := netip.ParseAddr(address); err != nil {
			return mail.Errorf(mail.Invalid,
				fmt.Sprintf("NotifyAddress %q: want an IP address", Short(address)))
		}
		notify = "ip:" + address
	default:
		r.notes = append(r.notes, fmt.Sprintf("the mode %q was ignored", Short(mode)))
		return nil
	}
	r.change.Notify = &notify
	return nil
}

// readFlags understands the flags of EIMS and gives the notify mode in them.
// A letter that is absent switches its property off.
func (r *tableRow) readFlags(flags string) (mode string) {
	if strings.EqualFold(flags, "delete") {
		r.remove = true
		return ""
	}
	has := func(letter string) *bool { b := strings.Contains(flags, letter); return &b }
	r.change.Enabled, r.change.Login = has("E"), has("L")
	apop := "off"
	if *has("A") {
		apop = "required"
	}
	r.change.APOP = &apop
	mode = "none"
	var other []string
	for _, f := range flags {
		switch f {
		case 'E', 'L', 'A', '0', ' ', 'P':
		case '3':
			mode = "notify"
		case '4':
			mode = "notify ip"
		default:
			other = append(other, string(f))
		}
	}
	if len(other) > 0 {
		r.notes = append(r.notes, "the flags "+strings.Join(other, ", ")+
			" (forwarding and the like) were ignored")
		if mode == "none" {
			return ""
		}
	}
	return mode
}
