# Perl's own mail clients, as tests: mail.pl NAME FILE runs the function NAME.
# The file says where the server is and who the user is. Whatever is not as it
# should be dies.
use strict;
use warnings;
use JSON::PP;
use Net::POP3;
use Net::SMTP;

open my $file, '<', $ARGV[1] or die $!;
my $here = decode_json(join '', <$file>);
my ($user, $password) = @$here{qw(user password)};
my $letter = $here->{letter};
my @tls = (SSL_ca_file => $here->{certificate}, SSL_verifycn_name => 'localhost');

sub smtp {
    my $service = shift;
    return Net::SMTP->new('localhost', Port => $here->{ports}{$service}, Timeout => 20,
        Hello => 'client.example.net', @tls, @_) || die "no connection: $@";
}

sub pop3 {
    return Net::POP3->new('localhost', Port => $here->{ports}{pop}, Timeout => 20, @tls)
        || die "no connection: $@";
}

# done dies with the server's last reply unless the call was right.
sub done {
    my ($connection, $what, $right) = @_;
    die "$what: " . $connection->code . ' ' . $connection->message unless $right;
    return $right;
}

sub expect {
    my ($what, $got, $want) = @_;
    $got = 'nothing' unless defined $got;
    die "$what: got '$got', want '$want'" if $got ne $want;
}

# pieces cuts a text as chunks of up to n bytes: lines, even CRLF, may be cut.
sub pieces { return unpack "(a$_[1])*", $_[0] }

# chunks sends a message by BDAT, in chunks of a size.
sub chunks {
    my ($s, $text, $size) = @_;
    my @pieces = pieces($text, $size);
    my $last = pop @pieces;
    done($s, 'BDAT', $s->bdat($_)) for @pieces;
    done($s, 'BDAT LAST', $s->bdatlast($last));
}

# send_binary sends any byte there is, with no line ends but those that belong
# to it, and then a second message by DATA in the same session.
sub send_binary {
    my $s = smtp('smtp');
    my $binary = pack 'H*', $here->{binary};
    for my $size (1000, 100_000) {
        done($s, 'MAIL', $s->mail('sender@example.net', Bits => 'binary', Size => length $binary));
        done($s, 'RCPT', $s->to($user));
        chunks($s, $binary, $size);
    }
    done($s, 'QUIT', $s->quit);
}

# send_chunks sends the letter by BDAT in chunks of 97 bytes: dots at the begin
# of lines stand for themselves.
sub send_chunks {
    my $s = smtp('submission');
    done($s, 'STARTTLS', $s->starttls);
    done($s, 'AUTH', $s->auth($user, $password));
    done($s, 'MAIL', $s->mail($user, Bits => 'binary'));
    done($s, 'RCPT', $s->to($user));
    chunks($s, $letter, 97);
    done($s, 'QUIT', $s->quit);
}

# send_refused: what a chunk is for nobody is refused, and the session goes on.
sub send_refused {
    my $s = smtp('smtp');
    done($s, 'MAIL', $s->mail('sender@example.net', Bits => 'binary'));
    expect('RCPT', $s->to('nobody@localhost') ? 'taken' : $s->code, 550);
    expect('BDAT', $s->bdat($letter) ? 'taken' : $s->code, 554);
    done($s, 'RSET', $s->reset);
    done($s, 'MAIL', $s->mail('sender@example.net', Bits => 'binary'));
    done($s, 'RCPT', $s->to($user));
    done($s, 'BDAT', $s->bdatlast($letter));
    done($s, 'QUIT', $s->quit);
}

# send_8bit sends by DATA with BODY=8BITMIME and SIZE.
sub send_8bit {
    my $s = smtp('submissions', SSL => 1);
    done($s, 'AUTH', $s->auth($user, $password));
    done($s, 'MAIL', $s->mail($user, Bits => '8', Size => length $letter));
    done($s, 'RCPT', $s->to($user));
    done($s, 'DATA', $s->data($letter));
    done($s, 'QUIT', $s->quit);
}

# fetch reads a maildrop of three letters with LAST, as RFC 1460 has it: it is
# the highest message that was read, RSET takes it back, and a later session
# knows it.
sub fetch {
    my $p = pop3();
    expect('messages', $p->login($user, $password), 3);
    expect('LAST', $p->last, 0);
    my $text = join '', @{$p->get(2)};
    my $lines = $letter =~ s/\r\n/\n/gr; # Net::POP3 gives lines in this way
    die 'RETR 2' unless substr($text, -length $lines) eq $lines;
    expect('LAST after RETR 2', $p->last, 2);
    $p->reset; # says nothing of use itself
    done($p, 'RSET', $p->ok);
    expect('LAST after RSET', $p->last, 0);
    my $ids = $p->uidl;
    expect('UIDL 3', $p->uidl(3), $ids->{3});
    my $sizes = $p->list;
    expect('LIST 2', $p->list(2), length($text) + ($text =~ tr/\n//));
    my $top = join '', @{$p->top(2, 1)};
    expect('TOP', $top, substr($text, 0, index($text, "\n\n") + 2) . ".\n");
    done($p, 'RETR 1', $p->get(1));
    done($p, 'DELE 1', $p->delete(1));
    done($p, 'QUIT', $p->quit);

    $p = pop3();
    expect('messages after APOP', $p->apop($user, $password), 2);
    expect('UIDL 2', $p->uidl(2), $ids->{3});
    done($p, 'QUIT', $p->quit);

    $p = pop3();
    done($p, 'STLS', $p->starttls);
    expect('LOGIN-DELAY', $p->capabilities->{'LOGIN-DELAY'} + 0, 0);
    done($p, 'AUTH', $p->auth($user, $password));
    done($p, 'QUIT', $p->quit);
}

main->can($ARGV[0])->();
