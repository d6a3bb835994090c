//go:build unix

package seal

import (
	"os"

	"postrider/internal/mail"
)

func checkMode(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return mail.Errorf(mail.Denied, path+" can be read by others; run chmod 600 "+path)
	}
	return nil
}
