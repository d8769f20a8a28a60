package RamPipe::Apply;

# Carries out a committed log. Whatever part of it has been done before, in any run,
# the result is the same. What is on disk is touched only if it is what the log speaks
# of, by inode number; what others have put in its place is left alone and reported.
# docs/redo-log.md has the rules ("Idempotence", "Conflicts").

use strict;
use warnings;
use Errno qw(ENOENT ENOTDIR ELOOP EXDEV ENXIO EEXIST EOPNOTSUPP ENOSYS);
use RamPipe::Attributes qw(give_attributes);
use RamPipe::Conflicts ();
use RamPipe::Error;
use RamPipe::Linux qw(:all);
use RamPipe::RedoLog qw(NONE ROOT is_as log_reader);
use RamPipe::Staging ();

use constant {
    MOST_FSYNCS => 16,    # more than these are made durable together, by syncfs
    MOST_OPEN   => 64,
    MOST_NESTED => 2048,    # no path that the kernel takes has more components
};

# place: where the target's directory is (RamPipe::Disk). held: descriptors of files on
# disk by inode number that are held with leases: any other open would wait for our own
# lease (fcntl(2)). tell: called with each conflict (see RamPipe::Drift), before anything
# is put beside. upper: the pin's layers (RamPipe::Upper), if there is one, and so an
# overlay that must not show what programs have deleted there since: names that are put on
# disk are hidden first (RamPipe::Mask). In directories that have come to the disk since it
# was mounted they cannot be hidden, and are left out. mounted: whether programs may change
# it. expected: what files that are changed in place must be like, by number, for a log that
# is applied the first time.
sub new {
    my ($class, %given) = @_;
    my $self = bless {
        expected => {},
        %given,    # place, staging, held, log, tell, upper, mounted, progress
        staged  => $given{staging}->fd,
        pin     => $given{log}{header}{pin},
        open    => {},
        order   => [],
        placed  => {},
        removed => 0,
        bytes   => 0,
        lost       => {},    # files that were to be changed in place and are not there any more
        skipped    => 0,     # names were left out: the log must stay
        held_back  => {},
        removals   => [],    # as placed: what was asked for so far, done or not
        beside     => [],    # directory and name of what was put beside
        attributed => {},    # directories that were given attributes
        changed_directories => {},
        changed_files       => {},
    }, $class;
    $self->{known}{ $_->{inode} } = 1 for values %{ $self->{log}{directories} }, values %{ $self->{log}{files} };
    return $self;
}

# Applies the log that is open there, and makes it durable. With data_only everything
# waits but data and attributes of files that stay where they are.
sub apply {
    my ($self, $fd, $data_only) = @_;
    my $reserve = RamPipe::Staging::reserve($self->{log}{header}{sequence});
    unlink_at($self->{staged}, $reserve) if exists_at($self->{staged}, $reserve);
    my %do = (
        Data           => \&data,
        Size           => \&size,
        Hole           => \&hole,
        FileAttributes => \&file_attributes,
    );
    %do = (%do,
        Detach              => \&detach,
        Remove              => \&remove,
        PlaceDirectory      => \&place_directory,
        PlaceFile           => \&place_file,
        DirectoryAttributes => \&directory_attributes,
    ) if !$data_only;
    my $next = log_reader($fd);
    while (my $r = $next->()) {
        my $action = $do{ $r->{type} };
        $action->($self, $r) if $action;
        # Not sooner: a caller up the stack may still use them.
        delete $self->{open}{ shift @{ $self->{order} } } while @{ $self->{order} } > MOST_OPEN;
    }
    $self->close_current;
    $self->make_durable;
    return;
}

# Finding things

# A directory wherever it is by now, or undef if it is nowhere where it could be.
# on_the_way: those that are being looked for, up the stack: old and new places may lead
# in a circle. nowhere: those that were not found; each could be reached in as many ways
# as there are old and new places above it, and is looked for once.
sub directory {
    no warnings 'recursion';
    my ($self, $id, $on_the_way, $nowhere) = @_;
    return $self->{place}{directory} if $id == ROOT;
    return $self->{open}{$id} if $self->{open}{$id};
    $on_the_way ||= {};
    $nowhere    ||= {};
    return if $nowhere->{$id} || $on_the_way->{$id};
    local $on_the_way->{$id} = 1;
    RamPipe::Error::refused('directories in the redo log are nested too deep') if keys %$on_the_way > MOST_NESTED;
    my $d = $self->{log}{directories}{$id};
    my $fd;
    $fd = $self->child($self->{staged}, $d->{staged}, $d->{inode}) if $d->{staged} ne '';
    for my $where ('new', 'old') {
        next if $fd || $d->{"${where}_parent"} == NONE;
        my $parent = $self->directory($d->{"${where}_parent"}, $on_the_way, $nowhere) or next;
        $fd = $self->child($parent, $d->{"${where}_name"}, $d->{inode});
    }
    if ($fd) {
        $self->{open}{$id} = $fd;
        push @{ $self->{order} }, $id;
        # What was only to be reached through it may be now.
        %$nowhere = ();
    } else {
        $nowhere->{$id} = 1;
    }
    return $fd;
}

sub child {
    my ($self, $parent, $path, $inode) = @_;
    my $fd = eval { open_beneath_same_mount($parent, $path, O_RDONLY | O_DIRECTORY) };
    if (!$fd) {
        return if RamPipe::Error::failed($@, ENOENT, ENOTDIR, ELOOP, EXDEV);
        die $@;
    }
    my $s = stat_of($fd);
    return $s->{inode} == $inode && $s->{device} == $self->{place}{stat}{device} ? $fd : undef;
}

# Inode number of a name; 0 if there is none.
sub inode {
    my ($dir, $name) = @_;
    my $s = exists_at($dir, $name);
    return $s ? $s->{inode} : 0;
}

# The regular file of that name, open for writing, if it is the one with that inode
# number; else undef.
sub open_file {
    my ($place, $held, $dir, $name, $inode) = @_;
    my $right = sub {
        my $s = shift;
        return is_regular($s) && $s->{inode} == $inode && $s->{device} == $place->{stat}{device}
            && $s->{mount} == $place->{stat}{mount};
    };
    my $fd = eval {
        if (!$right->(stat_at($dir, $name))) {
            undef;
        } elsif ($held->{$inode}) {
            $held->{$inode};
        } else {
            my $opened = open_at($dir, $name, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
            $right->(stat_of($opened)) ? $opened : undef;
        }
    };
    my $e = $@;
    die $e if !$fd && $e && !RamPipe::Error::failed($e, ENOENT, ENOTDIR, ELOOP, ENXIO);
    return $fd;
}

sub file {
    my ($self, $id) = @_;
    return $self->{current_fd} if defined $self->{current} && $self->{current} == $id;
    $self->close_current;
    return if $self->{lost}{$id};
    my $f   = $self->{log}{files}{$id};
    my $dir = $f->{staged} eq '' ? $self->directory($f->{home}) : $self->{staged};
    my $name = $f->{staged} eq '' ? $f->{home_name} : $f->{staged};
    my $fd = $dir && open_file($self->{place}, $self->{held}, $dir, $name, $f->{inode});
    if (!$fd || !$self->is_expected($id, stat_of($fd))) {
        $self->{lost}{$id} = 1;
        return;
    }
    $self->{current} = $id;
    return $self->{current_fd} = $fd;
}

sub close_current {
    my $self = shift;
    delete @{$self}{qw(current current_fd)};
    return;
}

# Whether others have not changed it since the log was written; asked once, before it is
# changed here.
sub is_expected {
    my ($self, $id, $now) = @_;
    my $was = delete $self->{expected}{$id};
    return !$was || is_as($was, $now);
}

# Tells of a lost file whose new version is not kept beside.
sub tell_loss {
    my ($self, $id) = @_;
    my $f = $self->{log}{files}{$id};
    $self->tell($f->{staged} eq '' ? $self->path(@{$f}{qw(home home_name)}) : $f->{staged}, '',
        'was changed or removed on disk by others; what is there now was not touched');
    return;
}

sub tell {
    my ($self, $path, $copy, $what) = @_;
    $self->{tell}->({ path => $path, copy => $copy, what => $what });
    return;
}

# Where the name is meant to be, below the target.
sub path {
    my ($self, $id, $name) = @_;
    my $path = $name;
    for (my $i = 0; $id > ROOT && $i <= keys %{ $self->{log}{directories} }; $i++) {
        my $d     = $self->{log}{directories}{$id};
        my $where = $d->{new_parent} != NONE ? 'new' : 'old';
        $path = $d->{"${where}_name"} . "/$path";
        $id   = $d->{"${where}_parent"};
    }
    return $path;
}

# Whether something may be put under a name that is free on disk.
sub may_appear {
    my ($self, $id, $name) = @_;
    # A copy beside what others have changed is to be seen.
    my $is_copy = sub { return RamPipe::Conflicts::is_copy_of_pin($self->{pin}, $_[0]) };
    my $upper   = $self->{upper};
    return 1 if !$upper || $is_copy->($name);
    for my $d ($self->before($id)) {
        # As new as the name, which is hidden with it.
        return 1 if $d->{old_parent} == NONE && $d->{staged} ne '' || $is_copy->($d->{new_name});
    }
    return 1 if $upper->{mask} && $upper->{mask}->hide($self->masked($id), $name);
    return !$self->{mounted} && !$self->is_gone($id, $name);
}

# The path of a directory on disk in the mask: it is where it was at first even if it has been
# moved on disk since, which the overlay need not have noticed.
sub masked {
    my ($self, $id) = @_;
    return '' if $id == ROOT;
    return $self->{upper}{mask}->paths->{ $self->{log}{directories}{$id}{inode} } // $self->below($id);
}

# The path on disk of a directory before anything moves.
sub below {
    my ($self, $id) = @_;
    return join '/', map { $_->{old_parent} == NONE ? $_->{new_name} : $_->{old_name} } reverse $self->before($id);
}

# A directory and those that it was in, up to but not including the target's own.
sub before {
    my ($self, $id) = @_;
    my @way;
    while ($id > ROOT) {
        my $d = $self->{log}{directories}{$id};
        RamPipe::Error::refused('directories in the redo log are nested too deep') if !$d || @way > MOST_NESTED;
        push @way, $d;
        $id = $d->{ $d->{old_parent} == NONE ? 'new_parent' : 'old_parent' };
    }
    return @way;
}

# Whether the upper layer has no such name any more.
sub is_gone {
    my ($self, $id, $name) = @_;
    my $root = $self->{upper}{root};
    my $path = '';
    for (my $n = 0; $id != ROOT; $n++) {
        my $d = $self->{log}{directories}{$id};
        return 1 if !$d || $d->{new_parent} == NONE || $n > MOST_NESTED;
        return 0 if RamPipe::Conflicts::is_copy_of_pin($self->{pin}, $d->{new_name});
        $path = "$d->{new_name}/$path";
        $id   = $d->{new_parent};
    }
    return !exists_at($root, $name) if $path eq '';
    my $dir = eval { open_beneath_same_mount($root, $path, O_PATH | O_DIRECTORY) };
    return !exists_at($dir, $name) if $dir;
    return 1 if RamPipe::Error::failed($@, ENOENT, ENOTDIR, ELOOP);
    die $@;
}

# Data

sub size {
    my ($self, $r) = @_;
    my $fd = $self->file($r->{file});
    truncate_to($fd, $r->{size}) if $fd && stat_of($fd)->{size} != $r->{size};
    $self->{changed_files}{ $r->{file} } = 1;
    return;
}

sub data {
    my ($self, $r) = @_;
    my $fd = $self->file($r->{file});
    if ($fd) {
        write_at($fd, $r->{bytes}, $r->{offset});
        $self->{bytes} += $r->{length};
        $self->{progress}->($self->{bytes}) if $self->{progress};
    }
    $self->{changed_files}{ $r->{file} } = 1;
    return;
}

sub hole {
    my ($self, $r) = @_;
    my $fd = $self->file($r->{file});
    make_hole($fd, $r->{offset}, $r->{length}) if $fd;
    $self->{changed_files}{ $r->{file} } = 1;
    return;
}

# Makes a range read as zeros, as a hole where the file system can.
sub make_hole {
    my ($fd, $offset, $length) = @_;
    return if eval { punch_hole($fd, $offset, $length); 1 };
    die $@ if !RamPipe::Error::failed($@, EOPNOTSUPP, ENOSYS);
    # Behind the end there is nothing to be zeroed, and the size stays.
    my $size = stat_of($fd)->{size};
    $length = $size - $offset if $length > $size - $offset;
    while ($length > 0) {
        my $part = $length < 65536 ? $length : 65536;
        write_at($fd, "\0" x $part, $offset);
        $offset += $part;
        $length -= $part;
    }
    return;
}

# Structure

sub detach {
    my ($self, $r) = @_;
    my $d = $self->{log}{directories}{ $r->{directory} };
    return if $d->{old_parent} == NONE;
    if (!$self->{moving} && $self->{log}{header}{deferred}) {
        # A disk that fails shows it here, where the overlay can still be put back.
        $self->close_current;
        $self->make_durable;
        $self->{moving} = 1;
    }
    return if inode($self->{staged}, $d->{staged}) == $d->{inode};
    my $target = $d->{new_parent} == NONE ? undef : $self->directory($d->{new_parent});
    return if $target && inode($target, $d->{new_name}) == $d->{inode};
    my $from = $self->directory($d->{old_parent});
    if (!$from || inode($from, $d->{old_name}) != $d->{inode}) {
        $self->tell($self->path(@{$d}{qw(old_parent old_name)}), '',
            'is a directory that was moved or removed on disk by others');
        return;
    }
    rename_new($from, $d->{old_name}, $self->{staged}, $d->{staged});
    $self->{changed_directories}{ $d->{old_parent} } = 1;
    return;
}

sub remove {
    my ($self, $r) = @_;
    my $number = $self->{removed}++;
    push @{ $self->{removals} }, $r;
    my $dir    = $self->directory($r->{directory}) or return;
    $self->{changed_directories}{ $r->{directory} } = 1;
    my $now = exists_at($dir, $r->{name});
    return if !$now || $self->{known}{ $now->{inode} } && $now->{inode} != $r->{inode};
    # The number alone may belong to a new file already.
    my $still = $now->{inode} == $r->{inode}
        && (is_directory($now) ? 1 : 0) == $r->{is_directory}
        && ($self->{known}{ $r->{inode} } || is_as($r->{was}, $now));
    if (!$still) {
        $self->tell($self->path(@{$r}{qw(directory name)}), '', 'was removed in RAM, but changed on disk by others, and stays');
        return;
    }
    my $done = eval {
        if ($r->{is_directory}) {
            my $away = RamPipe::Staging::prefix($self->{log}{header}{sequence}) . "r$number";
            rename_new($dir, $r->{name}, $self->{staged}, $away);
        } else {
            unlink_at($dir, $r->{name});
        }
        1;
    };
    die $@ if !$done && !RamPipe::Error::failed($@, ENOENT);
    return;
}

sub place_directory {
    my ($self, $r) = @_;
    my $d = $self->{log}{directories}{ $r->{directory} };
    $self->{changed_directories}{$_} = 1 for $d->{new_parent}, $d->{id};
    my $dir    = $self->directory($d->{new_parent});
    my $staged = inode($self->{staged}, $d->{staged}) == $d->{inode};
    if (!$dir) {
        return $staged
            ? $self->place_beside($d->{staged}, ROOT, $d->{new_name})
            : $self->find_beside($d->{inode}, ROOT, $d->{new_name});
    }
    my $now = inode($dir, $d->{new_name});
    return if $now == $d->{inode};
    return $self->find_beside(@{$d}{qw(inode new_parent new_name)}) if !$staged;
    if ($now == 0 && !$self->may_appear(@{$d}{qw(new_parent new_name)})) {
        $self->{skipped} = 1;
    } elsif ($now == 0) {
        rename_new($self->{staged}, $d->{staged}, $dir, $d->{new_name});
    } else {
        $self->place_beside(@{$d}{qw(staged new_parent new_name)});
    }
    return;
}

sub place_file {
    my ($self, $r) = @_;
    my $placed = $self->{placed}{ $r->{file} } ||= [];
    my $f      = $self->{log}{files}{ $r->{file} };
    $self->{changed_directories}{ $r->{directory} } = 1;
    my $dir    = $self->directory($r->{directory});
    my $staged = inode($self->{staged}, $f->{staged}) == $f->{inode};
    if (!$dir) {
        push @$placed, $r;
        return $staged
            ? $self->place_beside($f->{staged}, ROOT, $r->{name})
            : $self->find_beside($f->{inode}, ROOT, $r->{name});
    }
    my $there = exists_at($dir, $r->{name});
    my $now   = $there ? $there->{inode} : 0;
    if (!$now && !$self->may_appear(@{$r}{qw(directory name)})) {
        $self->{skipped} = $self->{held_back}{ $r->{file} } = 1;
        return;
    }
    push @$placed, $r;
    return if $now == $f->{inode};
    return $self->find_beside($f->{inode}, @{$r}{qw(directory name)}) if !$staged;
    my $from = $f->{staged};
    if (!$r->{last} || $self->{held_back}{ $r->{file} }) {
        $from .= 'l';
        link_at($self->{staged}, $f->{staged}, $self->{staged}, $from) if inode($self->{staged}, $from) == 0;
    }
    if ($now == 0) {
        rename_new($self->{staged}, $from, $dir, $r->{name});
    } elsif (!is_directory($there) && ($self->{known}{$now} || $now == $r->{expected} && is_as($r->{was}, $there))) {
        # Inode numbers are used again: a directory is never what was there.
        rename_at($self->{staged}, $from, $dir, $r->{name});
    } else {
        $self->place_beside($from, @{$r}{qw(directory name)});
    }
    return;
}

# Others put something where this was to go, or took the directory away: both are kept.
# id: where it was to go; if that is gone, it goes to the target's own directory.
sub place_beside {
    my ($self, $from, $id, $name) = @_;
    my $there = $self->directory($id) ? $id : ROOT;
    my $dir    = $self->directory($there);
    my $itself = inode($self->{staged}, $from);
    for (my $i = 1;; $i++) {
        my $copy  = RamPipe::Conflicts::copy_name($self->{pin}, $name, $i);
        my $taken = inode($dir, $copy);
        if ($taken && $taken == $itself) {
            # Put there by a run that was cut later, from another link.
            unlink_at($self->{staged}, $from);
            push @{ $self->{beside} }, [$there, $copy];
            return;
        }
        next if $taken;
        $self->tell($self->path($id, $name), $self->path($there, $copy),
            'was changed, or its directory taken away, on disk by others; the version from RAM is kept as');
        if (eval { rename_new($self->{staged}, $from, $dir, $copy); 1 }) {
            $self->{sync_all} = 1;
            push @{ $self->{beside} }, [$there, $copy];
            return;
        }
        die $@ if !RamPipe::Error::failed($@, EEXIST);
    }
}

# What an earlier run has put beside, if it has, is known to this one.
sub find_beside {
    my ($self, $inode, $id, $name) = @_;
    my $dir = $self->directory($id);
    for (my $i = 1;; $i++) {
        my $copy  = RamPipe::Conflicts::copy_name($self->{pin}, $name, $i);
        my $taken = inode($dir, $copy) or return;
        next if $taken != $inode;
        push @{ $self->{beside} }, [$id, $copy];
        return;
    }
}

# Attributes

sub file_attributes {
    my ($self, $r) = @_;
    $self->close_current;
    my $f = $self->{log}{files}{ $r->{file} };
    return if $self->{lost}{ $f->{id} };
    my ($dir, $name);
    if ($f->{staged} eq '') {
        ($dir, $name) = ($self->directory($f->{home}), $f->{home_name});
    } else {
        ($dir, $name) = ($self->{staged}, $f->{staged});
        for my $p (@{ $self->{placed}{ $f->{id} } || [] }) {
            my $d = $self->directory($p->{directory});
            ($dir, $name) = ($d, $p->{name}) if $d && inode($d, $p->{name}) == $f->{inode};
        }
    }
    my $fd = $dir && inode($dir, $name) == $f->{inode} ? open_at($dir, $name, O_PATH | O_NOFOLLOW) : undef;
    my $s  = $fd && stat_of($fd);
    if (!$s || $s->{inode} != $f->{inode} || $s->{device} != $self->{place}{stat}{device} || $s->{type} != $f->{file_type}
        || !$self->is_expected($f->{id}, $s)) {
        $self->{lost}{ $f->{id} } = 1;
        return;
    }
    give_attributes($r->{attributes}, $fd);
    if ($f->{file_type} == S_IFREG) {
        $self->{changed_files}{ $f->{id} } = 1;
    } else {
        # There is nothing that could be opened for an fsync.
        $self->{sync_all} = 1;
    }
    return;
}

sub directory_attributes {
    my ($self, $r) = @_;
    my $dir = $self->directory($r->{directory}) or return;
    give_attributes($r->{attributes}, $dir);
    $self->{changed_directories}{ $r->{directory} } = 1;
    $self->{attributed}{ $r->{directory} } = 1;
    return;
}

# One fsync each for a few, else one for the file system: each fsync of a changed file
# is a commit of the file system's own journal, and on slow disks a few of them take as
# long as writing everything back.
sub make_durable {
    my $self = shift;
    delete @{ $self->{changed_files} }{ keys %{ $self->{lost} } };
    delete $self->{changed_directories}{ +NONE };
    my @files       = sort { $a <=> $b } keys %{ $self->{changed_files} };
    my @directories = sort { $a <=> $b } keys %{ $self->{changed_directories} };
    my $moved = grep {
        my $f = $self->{log}{files}{$_};
        $f->{staged} ne '' && inode($self->{staged}, $f->{staged}) != $f->{inode}
    } @files;
    if ($self->{sync_all} || $moved || @files + @directories > MOST_FSYNCS) {
        sync_file_system($self->{place}{directory});
        return;
    }
    for my $id (@files) {
        my $fd = $self->file($id);
        sync_file($fd) if $fd;
    }
    $self->close_current;
    for my $id (@directories) {
        my $dir = $self->directory($id);
        sync_file($dir) if $dir;
    }
    return;
}

1;
