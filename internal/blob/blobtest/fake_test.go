package blobtest_test

import (
	"testing"

	"postrider/internal/blob"
	"postrider/internal/blob/blobtest"
)

func TestFake(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Store { return blobtest.NewFake(2) })
}
